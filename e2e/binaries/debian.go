package binaries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// debian names for each tool the package that has it: a program on PATH, or a file where the name is a path.
var debian = []struct{ tool, name string }{
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"tcpdump", "tcpdump"},
	{"arping", "iputils-arping"},
	{"ping", "iputils-ping"},
	{"ndisc6", "ndisc6"},
	{"curl", "curl"},
	{"mount", "mount"},
	{"gcc", "gcc"},
	{"pkg-config", "pkg-config"},
	{"/usr/include/seccomp.h", "libseccomp-dev"},
	{"vtysh", "frr"},
	{"bird", "bird2"},
}

// EnsureDebian installs the tools that the machine lacks, if it can.
func EnsureDebian(ctx context.Context, say func(format string, args ...any)) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if os.Geteuid() != 0 {
		return fmt.Errorf("these tools are missing, and only root can install them: apt-get install %s", list)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("these tools are missing, and there is no apt-get to install them with (Debian's names): %s", list)
	}
	say("installing %s", list)
	return install(ctx, missing)
}

func missingPackages() (missing []string) {
	for _, d := range debian {
		_, err := exec.LookPath(d.tool)
		if strings.HasPrefix(d.tool, "/") {
			_, err = os.Stat(d.tool)
		}
		if err != nil {
			missing = append(missing, d.name)
		}
	}
	return missing
}

// install reads the package lists anew first: on a new machine there are none, or old ones.
func install(ctx context.Context, packages []string) error {
	allow, err := forbidStarts()
	if err != nil {
		return err
	}
	defer allow()
	for _, args := range [][]string{
		{"update", "-q"},
		append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...),
	} {
		command := exec.CommandContext(ctx, "apt-get", args...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := command.CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("apt-get %s: %w", args[0], err), errors.New(strings.TrimSpace(string(output))))
		}
	}
	return nil
}

// policyFile is asked, where it exists, before a package starts a service: status 101 forbids it (Debian's invoke-rc.d(8)).
const policyFile = "/usr/sbin/policy-rc.d"

// forbidStarts keeps the routers from starting on the machine itself. Where there is a policy already, it is left alone.
func forbidStarts() (allow func(), err error) {
	policy, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keep services from starting: %w", err)
	}
	_, err = policy.WriteString("#!/bin/sh\nexit 101\n")
	return func() { os.Remove(policyFile) }, errors.Join(err, policy.Close())
}
