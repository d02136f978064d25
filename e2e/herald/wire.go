package herald

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// Owner is the host that answers for an address when the LAN's client asks: arping and ndisc6 ask with a packet of their
// own, whatever the client's kernel remembers. It is "" if nobody answers.
func Owner(ctx context.Context, l *lab.Lab, address netip.Addr) (lab.Host, error) {
	ask := []string{"arping", "-c", "1", "-w", "1", "-I", "eth0", address.String()}
	if address.Is6() {
		ask = []string{"ndisc6", "-1", "-r", "1", "-w", "1000", address.String(), "eth0"}
	}
	answers, err := answers(ctx, l, ask)
	if err != nil || len(answers) == 0 {
		return "", err
	}
	return answers[0], nil
}

// Answers lists all hosts that answer for an address within a second: one, where all is well.
func Answers(ctx context.Context, l *lab.Lab, address netip.Addr) ([]lab.Host, error) {
	ask := []string{"arping", "-b", "-c", "2", "-w", "1", "-I", "eth0", address.String()}
	if address.Is6() {
		ask = []string{"ndisc6", "-m", "-r", "1", "-w", "1000", address.String(), "eth0"}
	}
	return answers(ctx, l, ask)
}

var macAddress = regexp.MustCompile(`(?i)\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`)

// answers reads the link-layer addresses out of what arping and ndisc6 print. Both end with an error if nobody answers.
func answers(ctx context.Context, l *lab.Lab, ask []string) ([]lab.Host, error) {
	command, err := l.Command(ctx, lab.Client, ask...)
	if err != nil {
		return nil, err
	}
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && !spoke(string(output)) {
		return nil, fmt.Errorf("ask the LAN with %s: %w: %s", strings.Join(ask, " "), err, output)
	}
	return hostsIn(string(output), l.Hosts()), nil
}

// spoke tells an answer, that there is none included, from a complaint.
func spoke(output string) bool {
	return macAddress.MatchString(output) || strings.Contains(output, "Received 0 response") || strings.Contains(output, "No response")
}

// hostsIn lists the hosts that answered, each once.
func hostsIn(output string, all []lab.Host) (answered []lab.Host) {
	for _, mac := range macAddress.FindAllString(output, -1) {
		answered = append(answered, hostWith(mac, all))
	}
	slices.Sort(answered)
	return slices.Compact(answered)
}

// hostWith finds the host with a link-layer address: the lab makes its last byte that of the host's IPv4 address. It is
// the address itself if no host of the lab has it.
func hostWith(address string, all []lab.Host) lab.Host {
	mac, err := net.ParseMAC(address)
	if err != nil {
		return lab.Host(address)
	}
	for _, host := range all {
		if host.OnLAN() && lab.AddressesOf(host).V4.As4()[3] == mac[5] {
			return host
		}
	}
	return lab.Host(address)
}

// AwaitOwner waits until one host alone answers for an address and is the wanted one, and returns it.
func AwaitOwner(ctx context.Context, l *lab.Lab, address netip.Addr, wanted func(lab.Host) bool) (lab.Host, error) {
	var hosts []lab.Host
	err := Await(ctx, fmt.Sprintf("one owner of %s", address), func(ctx context.Context) (err error) {
		hosts, err = Answers(ctx, l, address)
		if err == nil && (len(hosts) != 1 || !wanted(hosts[0])) {
			err = fmt.Errorf("answered for by %v", hosts)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return hosts[0], nil
}

// Anyone is a wish for AwaitOwner.
func Anyone(lab.Host) bool { return true }

// OtherThan is a wish for AwaitOwner.
func OtherThan(host lab.Host) func(lab.Host) bool {
	return func(h lab.Host) bool { return h != host }
}

// Only is a wish for AwaitOwner.
func Only(host lab.Host) func(lab.Host) bool {
	return func(h lab.Host) bool { return h == host }
}

// patience bounds every wait whose context has no end of its own.
const patience = time.Minute

// Await asks until there is no error, and returns the last one if that takes too long.
func Await(ctx context.Context, what string, ask func(context.Context) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // what a request says that was cut short tells nothing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(last, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
