package light

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// networkConfig is what containerd would read on a node that had it.
const networkConfig = "/etc/cni/net.d/10-lab.conflist"

// addNetwork makes a pod's network namespace and returns its addresses.
func (n *Node) addNetwork(ctx context.Context, pod string) ([]string, error) {
	if _, err := os.Stat(filepath.Join("/run/netns", pod)); err != nil {
		if output, err := exec.CommandContext(ctx, "ip", "netns", "add", pod).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("make network namespace: %w: %s", err, output)
		}
	}
	// Without loopback, programs find that there is no IPv6; with duplicate address detection, that it comes late.
	settle := "ip link set lo up; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
	if output, err := exec.CommandContext(ctx, "ip", "netns", "exec", pod, "sh", "-c", settle).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("settle network namespace: %w: %s", err, output)
	}
	if _, err := n.plugin(ctx, "DEL", pod); err != nil { // of an attempt before this one
		return nil, err
	}
	output, err := n.plugin(ctx, "ADD", pod)
	if err != nil {
		return nil, err
	}
	return addresses(output)
}

// removeNetwork undoes addNetwork, also when the node itself is ending.
func (n *Node) removeNetwork(pod string) error {
	_, err := n.plugin(context.Background(), "DEL", pod)
	return errors.Join(err, exec.Command("ip", "netns", "delete", pod).Run())
}

// plugin calls the network plugin as a container runtime does (CNI specification 1.0.0, section 2).
func (n *Node) plugin(ctx context.Context, verb, pod string) ([]byte, error) {
	kind, config, err := pluginConfig()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, filepath.Join(n.CNI, kind))
	command.Stdin = bytes.NewReader(config)
	command.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+pod, "CNI_NETNS=/run/netns/"+pod, "CNI_IFNAME=eth0", "CNI_PATH="+n.CNI)
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("network plugin %s: %s: %w: %s", kind, verb, err, strings.TrimSpace(string(output)))
	}
	return output, nil
}

// pluginConfig derives the first plugin's configuration from the list's (CNI specification 1.0.0, section 3).
func pluginConfig() (kind string, config []byte, err error) {
	data, err := os.ReadFile(networkConfig)
	if err != nil {
		return "", nil, err
	}
	var list struct {
		CNIVersion string           `json:"cniVersion"`
		Name       string           `json:"name"`
		Plugins    []map[string]any `json:"plugins"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return "", nil, fmt.Errorf("parse %s: %w", networkConfig, err)
	}
	if len(list.Plugins) == 0 {
		return "", nil, fmt.Errorf("parse %s: no plugins", networkConfig)
	}
	first := list.Plugins[0]
	first["cniVersion"], first["name"] = list.CNIVersion, list.Name
	kind, _ = first["type"].(string)
	config, err = json.Marshal(first)
	return kind, config, err
}

// addresses reads the plugin's result, without the lengths of the prefixes.
func addresses(result []byte) (ips []string, err error) {
	var r struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return nil, fmt.Errorf("parse the network plugin's answer: %w", err)
	}
	for _, ip := range r.IPs {
		ips = append(ips, ip.Address.Addr().String())
	}
	if len(ips) == 0 {
		return nil, errors.New("the network plugin gave no address")
	}
	return ips, nil
}
