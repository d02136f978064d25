//go:build e2e

package lab_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/probe"
)

// web is three pods behind a port of every node.
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: lab.herald/web:1
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
`

func up(t *testing.T, options lab.Options) *lab.Lab {
	t.Helper()
	options.Steps = t.Output()
	l, err := lab.Up(t.Context(), options)
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), options.Name); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve deploys web and waits until each node answers on its port, to a host on the LAN and to one behind the router.
func serve(t *testing.T, l *lab.Lab) {
	t.Helper()
	must(t, l.Apply(t.Context(), web))
	must(t, l.AwaitRollout(t.Context(), "default", "deployment/web"))
	for _, host := range []lab.Host{lab.Client, lab.Far} {
		for _, node := range l.NodeNames() {
			own := lab.AddressesOf(node)
			awaitAnswer(t, l, host, own.V4)
			awaitAnswer(t, l, host, own.V6)
		}
	}
}

func awaitAnswer(t *testing.T, l *lab.Lab, from lab.Host, node netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := probe.Start(probe.Options{Dial: l.DialFrom(from), Address: netip.AddrPortFrom(node, 30080), Path: "/node"})
	defer p.Stop()
	if err := p.AwaitSuccess(ctx, time.Now()); err != nil {
		t.Fatalf("from %s: %v", from, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLab(t *testing.T) {
	l := up(t, lab.Options{Name: "labtest"})
	serve(t, l)

	t.Run("another lab lives beside it", func(t *testing.T) {
		other := up(t, lab.Options{Name: "labtest2", Nodes: 1, Light: true, ProxyMode: "iptables"})
		serve(t, other)
		awaitAnswer(t, l, lab.Client, lab.AddressesOf("node1").V4)
	})
	t.Run("a killed node is silent, and comes back with its pods", func(t *testing.T) { killAndRevive(t, l) })
	t.Run("a cable out is an outage, and in again its end", func(t *testing.T) { cable(t, l) })
	t.Run("the API server and etcd come back after a kill", func(t *testing.T) {
		for _, program := range []string{lab.APIServer, lab.Etcd} {
			must(t, l.KillProgram(program))
			must(t, l.StartProgram(t.Context(), program))
		}
		must(t, l.AwaitNodesReady(t.Context()))
		must(t, l.Apply(t.Context(), web))
	})
	t.Run("a command's failure says what it said", func(t *testing.T) {
		_, err := l.In(t.Context(), "node1", "sh", "-c", "echo broken >&2; exit 3")
		if err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("hosts that do not exist are named", func(t *testing.T) {
		for _, err := range []error{l.Kill(t.Context(), "node9"), l.Revive(t.Context(), "client"), l.CableOut(t.Context(), "nobody")} {
			if err == nil || !strings.Contains(err.Error(), "it has") {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("down leaves nothing, after a crash of the lab too", func(t *testing.T) {
		must(t, lab.Down(t.Context(), "labtest"))
		checkGone(t, "labtest")
		if _, err := lab.Open(t.Context(), "labtest"); !errors.Is(err, lab.ErrDown) {
			t.Errorf("open: got %v, want that it is down", err)
		}
		crashDuringUp(t)
		must(t, lab.Down(t.Context(), "labtest"))
		checkGone(t, "labtest")
	})
}

func killAndRevive(t *testing.T, l *lab.Lab) {
	node := lab.AddressesOf("node2")
	must(t, l.Kill(t.Context(), "node2"))
	if _, err := l.In(t.Context(), lab.Client, "ping", "-c1", "-W1", node.V4.String()); err == nil {
		t.Error("a dead node answers pings")
	}
	hosts, err := l.Status(t.Context())
	must(t, err)
	for _, h := range hosts {
		if off := h.Host == "node2"; h.On == off || h.Cable == off {
			t.Errorf("status of %s: on %v, cable %v", h.Host, h.On, h.Cable)
		}
	}
	must(t, l.Revive(t.Context(), "node2"))
	awaitAnswer(t, l, lab.Client, node.V4)

	must(t, l.PowerOff(t.Context(), "node2"))
	must(t, l.Revive(t.Context(), "node2"))
	awaitAnswer(t, l, lab.Client, node.V6)
}

func cable(t *testing.T, l *lab.Lab) {
	node := netip.AddrPortFrom(lab.AddressesOf("node3").V4, 30080)
	p := probe.Start(probe.Options{Dial: l.DialFrom(lab.Client), Address: node})
	must(t, p.AwaitSuccess(t.Context(), time.Now()))
	must(t, l.CableOut(t.Context(), "node3"))
	for failed := 0; failed < 5; time.Sleep(10 * time.Millisecond) {
		failed = probe.Summarize(p.Attempts()).Failed
	}
	must(t, l.CableIn(t.Context(), "node3"))
	// That it is answered again is its end; a straggler may still fail, on a busy machine.
	must(t, p.AwaitSuccess(t.Context(), time.Now()))
	if r := p.Stop(); r.Failed == 0 {
		t.Errorf("got %v", r)
	}
}

// crashDuringUp leaves a lab as a program does that ends half way.
func crashDuringUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := lab.Up(ctx, lab.Options{Name: "labtest"}); err == nil {
		t.Fatal("a lab is up in no time")
	}
}

func checkGone(t *testing.T, name string) {
	t.Helper()
	for _, pattern := range []string{
		"/run/netns/" + name + "-*", "/var/lib/herald-lab/" + name + "*",
		"/sys/fs/cgroup/*/herald-lab-" + name, "/sys/fs/cgroup/*/*/*/herald-lab-" + name, "/sys/fs/cgroup/herald-lab-" + name,
	} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	programs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range programs {
		if env, _ := os.ReadFile(file); strings.Contains(string(env), "/var/lib/herald-lab/"+name+"/") {
			t.Errorf("still runs: %s", filepath.Dir(file))
		}
	}
}
