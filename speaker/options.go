package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/process"
)

// logger is go-kit's, everywhere.
type logger = log.Logger

// Files that the DaemonSet mounts if they are configured.
const (
	excludesFile   = "/etc/metallb/excludel2.yaml"
	memberlistFile = "/etc/metallb/memberlist/config.json"
)

// options are the speaker's settings.
type options struct {
	process.Flags

	node lb.NodeName
	ring ringOptions
	// ignoreExcludeLabel announces from nodes that ask to be left out, too.
	ignoreExcludeLabel bool
	// refresh is how often addresses are announced unasked; 0 is never.
	refresh time.Duration
	// drainTime is how long an excluded node offers its routes still, as ways to leave.
	drainTime time.Duration

	frr frrOptions
}

// ringOptions are the settings of gossip, which runs if labels and an address are given.
type ringOptions struct {
	labels        string
	bindAddr      string
	bindPort      int
	secretKeyPath string
	wan           bool
}

// frrOptions are settings of back-ends that Herald does not need. They are accepted,
// so that existing DaemonSets start, and have no effect.
type frrOptions struct {
	host              string
	namespace         string
	secretPassthrough bool
	debounceTimeout   int
}

func parseOptions(args []string) (options, error) {
	var o options
	ringPort, err := intEnv("METALLB_ML_BIND_PORT", 7946)
	if err != nil {
		return o, err
	}
	debounce, err := intEnv("METALLB_BGP_DEBOUNCE_TIMEOUT", 3000)
	if err != nil {
		return o, err
	}
	fs := flag.NewFlagSet("speaker", flag.ContinueOnError)
	o.Register(fs)
	fs.StringVar((*string)(&o.node), "node-name", os.Getenv("METALLB_NODE_NAME"), "name of the Node that this speaker runs on (required)")
	fs.StringVar(&o.ring.labels, "ml-labels", os.Getenv("METALLB_ML_LABELS"), "labels of the speakers' pods; empty switches gossip off")
	fs.StringVar(&o.ring.bindAddr, "ml-bindaddr", os.Getenv("METALLB_ML_BIND_ADDR"), "address to gossip on; empty switches gossip off")
	fs.IntVar(&o.ring.bindPort, "ml-bindport", ringPort, "port to gossip on, TCP and UDP")
	fs.StringVar(&o.ring.secretKeyPath, "ml-secret-key-path", os.Getenv("METALLB_ML_SECRET_KEY_PATH"), "directory of the file secretkey that encrypts gossip")
	fs.BoolVar(&o.ring.wan, "ml-wan-config", false, "use slower timings, for nodes far from each other")
	fs.BoolVar(&o.ignoreExcludeLabel, "ignore-exclude-lb", false, "announce from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers, too")
	fs.DurationVar(&o.refresh, "l2-refresh-interval", time.Minute, "how often to announce addresses unasked, for switches that forget; 0 is never")
	fs.DurationVar(&o.drainTime, "bgp-drain-time", 5*time.Second, "how long a node that gets the exclude label goes on offering its BGP routes, with the community GRACEFUL_SHUTDOWN, before it withdraws them; 0 withdraws at once")
	fs.StringVar(&o.frr.host, "host", os.Getenv("METALLB_HOST"), "deprecated, has no effect")
	fs.StringVar(&o.frr.namespace, "frrk8s-namespace", os.Getenv("FRRK8S_NAMESPACE"), "accepted for compatibility, has no effect")
	fs.BoolVar(&o.frr.secretPassthrough, "frrk8s-secret-passthrough", false, "accepted for compatibility, has no effect")
	fs.IntVar(&o.frr.debounceTimeout, "bgp-debounce-timeout", debounce, "accepted for compatibility, has no effect (milliseconds)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return o, errors.Join(o.check(), o.Complete())
}

func (o *options) check() error {
	switch {
	case o.node == "":
		return errors.New("--node-name (or METALLB_NODE_NAME) is required")
	case o.ring.bindPort < 1 || o.ring.bindPort > 65535:
		return fmt.Errorf("--ml-bindport: %d is not a port", o.ring.bindPort)
	case o.refresh < 0:
		return fmt.Errorf("--l2-refresh-interval: %s is negative", o.refresh)
	case o.drainTime < 0:
		return fmt.Errorf("--bgp-drain-time: %s is negative", o.drainTime)
	case o.frr.debounceTimeout <= 0:
		return fmt.Errorf("--bgp-debounce-timeout: %d is not a positive number of milliseconds", o.frr.debounceTimeout)
	}
	return nil
}

// idle lists the given settings that have no effect.
func (o *options) idle() ([]string, error) {
	bgpType, err := process.BGPType()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range []struct {
		name  string
		given bool
	}{
		{"METALLB_BGP_TYPE", bgpType != ""},
		{"METALLB_BGP_DEBOUNCE_TIMEOUT", os.Getenv("METALLB_BGP_DEBOUNCE_TIMEOUT") != ""},
		{"FRR_LOGGING_LEVEL", os.Getenv("FRR_LOGGING_LEVEL") != ""},
		{"FRR_CONFIG_FILE", os.Getenv("FRR_CONFIG_FILE") != ""},
		{"FRR_RELOADER_PID_FILE", os.Getenv("FRR_RELOADER_PID_FILE") != ""},
		{"--frrk8s-namespace", o.frr.namespace != ""},
		{"--frrk8s-secret-passthrough", o.frr.secretPassthrough},
	} {
		if s.given {
			out = append(out, s.name)
		}
	}
	return out, nil
}

func intEnv(name string, otherwise int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", name, text)
	}
	return n, nil
}

// readExcludes reads the patterns of links never to announce on; no file excludes none.
func readExcludes(path string) ([]*regexp.Regexp, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	excludes, err := link.ParseExcludes(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return excludes, nil
}

// secretKey reads the key that encrypts gossip; no directory means no encryption.
func (o ringOptions) secretKey() ([]byte, error) {
	if o.secretKeyPath == "" {
		return nil, nil
	}
	return os.ReadFile(filepath.Join(o.secretKeyPath, "secretkey"))
}

// overrides reads the timings that the memberlist configuration file sets, if any.
func (o ringOptions) overrides() ([]byte, error) {
	text, err := os.ReadFile(memberlistFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return text, err
}
