package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// netnsDir is where ip-netns(8) keeps namespaces by name.
const netnsDir = "/run/netns"

func netnsFile(namespace string) string { return filepath.Join(netnsDir, namespace) }

// wireUp makes the lab's network: a bridge in a namespace of its own is the LAN, each host in its namespace has the link
// eth0 on it, and far and far2 are behind the routers.
func wireUp(ctx context.Context, lab string, nodes int) error {
	if err := ip(ctx, "", addNamespaces(lab, nodes)); err != nil {
		return err
	}
	for _, host := range append(hosts(nodes), "lan") {
		if err := setSysctls(namespace(lab, host), host); err != nil {
			return err
		}
	}
	if err := ip(ctx, lanNamespace(lab), bridge(lab, nodes)); err != nil {
		return err
	}
	for _, host := range hosts(nodes) {
		if err := ip(ctx, namespace(lab, host), hostLinks(lab, host, nodes)); err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
	}
	return nil
}

func addNamespaces(lab string, nodes int) (commands []string) {
	for _, ns := range labNamespaces(lab, nodes) {
		commands = append(commands, "netns add "+ns)
	}
	return commands
}

func labNamespaces(lab string, nodes int) []string {
	all := []string{lanNamespace(lab)}
	for _, host := range hosts(nodes) {
		all = append(all, namespace(lab, host))
	}
	return all
}

// bridge is the LAN: one port per host, named like the host. Without snooping, multicast reaches every port, as it does
// on a LAN whose router sends no queries.
func bridge(lab string, nodes int) []string {
	commands := []string{"link set lo up", "link add lan type bridge mcast_snooping 0 forward_delay 0", "link set lan up"}
	for _, host := range hosts(nodes) {
		if !host.OnLAN() {
			continue
		}
		commands = append(commands,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s address %s", host, namespace(lab, host), macOf(host)),
			fmt.Sprintf("link set %s master lan up", host))
	}
	return commands
}

// hostLinks gives a host its addresses and routes.
func hostLinks(lab string, host Host, nodes int) []string {
	own := AddressesOf(host)
	commands := []string{
		"link set lo up",
		"link set eth0 up",
		fmt.Sprintf("address add %s/24 dev eth0", own.V4),
		fmt.Sprintf("address add %s/64 dev eth0 nodad", own.V6),
	}
	for _, s := range stubs {
		switch {
		case host == s.router:
			commands = append(commands, s.links(lab)...)
		case host == s.far:
			commands = append(commands, defaultRoutes(s.gateway())...)
		case host.OnLAN():
			commands = append(commands, routesTo(s.v4, s.v6, AddressesOf(s.router))...)
		}
	}
	if host.OnLAN() && !host.IsRouter() {
		commands = append(commands, defaultRoutes(AddressesOf(Router))...)
	}
	if host == Control || host.IsNode() {
		commands = append(commands, podRoutes(host, nodes)...)
	}
	return commands
}

// links join a router to the client behind it.
func (s stub) links(lab string) []string {
	return []string{
		"link add far0 type veth peer name eth0 netns " + namespace(lab, s.far),
		"link set far0 up",
		fmt.Sprintf("address add %s/24 dev far0", s.gateway().V4),
		fmt.Sprintf("address add %s/64 dev far0 nodad", s.gateway().V6),
	}
}

func defaultRoutes(via Addresses) []string { return routesTo("0.0.0.0/0", "::/0", via) }

func routesTo(v4, v6 string, via Addresses) []string {
	return []string{
		fmt.Sprintf("route add %s via %s", v4, via.V4),
		fmt.Sprintf("route add %s via %s", v6, via.V6),
	}
}

// podRoutes lead to the pods of all other nodes. The control plane has them too: the API server calls webhooks by their
// pods' addresses.
func podRoutes(host Host, nodes int) (commands []string) {
	for n := 1; n <= nodes; n++ {
		if node := NodeName(n); node != host {
			v4, v6 := podRanges(n)
			commands = append(commands, routesTo(v4.String(), v6.String(), AddressesOf(node))...)
		}
	}
	return commands
}

// setSysctls writes a namespace's own settings. Duplicate address detection would hold every new address back for a
// second or more. The routers spread flows over next hops by ports as well.
func setSysctls(ns string, host Host) error {
	settings := []string{"ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0"}
	if host.IsRouter() || host.IsNode() {
		settings = append(settings, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv6/conf/default/forwarding=1")
	}
	if host.IsRouter() {
		settings = append(settings, "ipv4/fib_multipath_hash_policy=1", "ipv6/fib_multipath_hash_policy=1")
	}
	return inNamespace(ns, func() error {
		for _, setting := range settings {
			name, value, _ := strings.Cut(setting, "=")
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// ip runs a batch of ip(8) commands, in a namespace if one is named.
func ip(ctx context.Context, ns string, commands []string) error {
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	command := exec.CommandContext(ctx, "ip", args...)
	command.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}
