//go:build e2e

package suite

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

func TestControllerFaults(t *testing.T) {
	ctx := begin(t)
	for _, c := range []struct {
		name string
		end  func(context.Context, *testing.T)
	}{
		{"shut down", func(ctx context.Context, t *testing.T) {
			kubectl(ctx, t, "delete", "pod", "--namespace", herald.Namespace, "--selector", "component=controller")
		}},
		{"killed", func(ctx context.Context, t *testing.T) {
			killAndAwait(ctx, t, must(herald.Controller(ctx, cluster))(t))
		}},
	} {
		t.Run("a controller that is "+c.name+" and starts again takes no address away and gives none twice", func(t *testing.T) {
			svc := service(ctx, t, "kept", dualStack)
			before := awaitAddresses(ctx, t, svc, 2)
			// The last that is written of it, a second after the rest.
			kubectl(ctx, t, "wait", "--namespace", svc.Namespace, "service/"+svc.Name, "--for=condition=metallb.io/Announced", "--timeout=1m")
			version := resourceVersion(ctx, t, svc)
			c.end(ctx, t)
			awaitReady(ctx, t)

			fresh := service(ctx, t, "fresh", dualStack)
			for _, a := range awaitAddresses(ctx, t, fresh, 2) {
				if slices.Contains(before, a) {
					t.Errorf("%s was given to a second Service", a)
				}
			}
			if now := resourceVersion(ctx, t, svc); now != version {
				t.Errorf("the Service was written to: version %s, before %s", now, version)
			}
		})
	}
}

func resourceVersion(ctx context.Context, t *testing.T, svc *corev1.Service) string {
	t.Helper()
	return must(cluster.Client().CoreV1().Services(svc.Namespace).Get(ctx, svc.Name, metav1.GetOptions{}))(t).ResourceVersion
}

// killAndAwait kills a pod's process and waits until the kubelet has seen it and started another.
func killAndAwait(ctx context.Context, t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := herald.Kill(ctx, cluster, pod); err != nil {
		t.Fatal(err)
	}
	before := pod.Status.ContainerStatuses[0].RestartCount
	err := herald.Await(ctx, "another process of pod "+pod.Name, func(ctx context.Context) error {
		now, err := cluster.Client().CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && (now.Status.ContainerStatuses[0].RestartCount == before || !now.Status.ContainerStatuses[0].Ready) {
			err = fmt.Errorf("its container is %+v", now.Status.ContainerStatuses[0].State)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func awaitReady(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := herald.AwaitReady(ctx, cluster); err != nil {
		t.Fatal(err)
	}
}

func TestSpeakerFaults(t *testing.T) {
	ctx := begin(t)
	addresses := served(ctx, t, "spoken")
	home := owner(ctx, t, addresses, herald.Anyone)

	t.Run("a speaker that is killed is replaced, and announces again when it is back", func(t *testing.T) {
		pod := must(herald.Speaker(ctx, cluster, home))(t)
		// Who would answer is else up to how soon the kubelet starts it again.
		goOn := freezeKubelet(ctx, t, home)
		if err := herald.Kill(ctx, cluster, pod); err != nil {
			t.Fatal(err)
		}
		checkServed(ctx, t, addresses, herald.OtherThan(home))
		goOn(ctx, t)
		checkServed(ctx, t, addresses, herald.Only(home))
	})

	t.Run("a speaker that is shut down hands over, and announces again when it is back", func(t *testing.T) {
		pod := must(herald.Speaker(ctx, cluster, home))(t)
		withoutFailures(ctx, t, addresses, func() {
			kubectl(ctx, t, "delete", "pod", "--namespace", herald.Namespace, pod.Name)
			checkServed(ctx, t, addresses, herald.Anyone)
			awaitReady(ctx, t)
			checkServed(ctx, t, addresses, herald.Only(home))
		})
	})

	t.Run("a rolling restart of all speakers ends where it began", func(t *testing.T) {
		withoutFailures(ctx, t, addresses, func() {
			kubectl(ctx, t, "rollout", "restart", "--namespace", herald.Namespace, "daemonset/speaker")
			awaitReady(ctx, t)
			checkServed(ctx, t, addresses, herald.Only(home))
		})
	})
}

// freezeKubelet stops a node's kubelet for a while: it starts nothing again until it goes on.
func freezeKubelet(ctx context.Context, t *testing.T, node lab.Host) (goOn func(context.Context, *testing.T)) {
	t.Helper()
	send := func(ctx context.Context, t *testing.T, signal string) {
		t.Helper()
		must(cluster.In(ctx, node, "sh", "-c", "kill -"+signal+" $(pidof kubelet)"))(t)
	}
	goOn = func(ctx context.Context, t *testing.T) { t.Helper(); send(ctx, t, "CONT") }
	t.Cleanup(func() { goOn(context.Background(), t) })
	send(ctx, t, "STOP")
	return goOn
}

// withoutFailures has the client open connections all the time while something happens, and lets none fail: but as
// Failures has it, one that was being opened when its way moved may be reset.
func withoutFailures(ctx context.Context, t *testing.T, addresses []netip.Addr, happens func()) {
	t.Helper()
	clients := must(herald.StartPatientClients(ctx, cluster, lab.Client, addresses))(t)
	defer clients.Stop()
	began := time.Now()
	happens()
	if err := clients.AwaitSteady(ctx, time.Now()); err != nil {
		t.Error(err)
	}
	for _, f := range clients.Failures() {
		t.Errorf("%v after it began, a connection failed: %v", f.Start.Sub(began), f.Err)
	}
}

// checkServed waits until one node of those wanted answers for the addresses, and the client is served.
func checkServed(ctx context.Context, t *testing.T, addresses []netip.Addr, wanted func(lab.Host) bool) {
	t.Helper()
	owner(ctx, t, addresses, wanted)
	for _, a := range addresses {
		awaitAnswer(ctx, t, cluster, lab.Client, a)
	}
}

func TestNodeFaults(t *testing.T) {
	ctx := begin(t)
	addresses := served(ctx, t, "moved")
	home := owner(ctx, t, addresses, herald.Anyone)
	t.Cleanup(func() { restore(t, home) })

	for _, c := range []struct {
		name    string
		out, in func(context.Context, lab.Host) error
	}{
		{name: "whose cable is pulled", out: cluster.CableOut, in: cluster.CableIn},
		{name: "that loses power", out: cluster.Kill, in: cluster.Revive},
		{name: "that is shut down", out: cluster.PowerOff, in: cluster.Revive},
	} {
		t.Run("another node takes over from one "+c.name+", until it is back", func(t *testing.T) {
			if err := c.out(ctx, home); err != nil {
				t.Fatal(err)
			}
			checkServed(ctx, t, addresses, herald.OtherThan(home))
			if err := c.in(ctx, home); err != nil {
				t.Fatal(err)
			}
			checkServed(ctx, t, addresses, herald.Only(home))
		})
	}
}

// restore makes sure that tests which come later find all nodes.
func restore(t *testing.T, node lab.Host) {
	t.Helper()
	ctx := context.Background()
	if err := cluster.Revive(ctx, node); err != nil {
		t.Error(err)
	}
	if err := cluster.AwaitRollout(ctx, "default", "deployment/web"); err != nil {
		t.Error(err)
	}
	if err := herald.AwaitReady(ctx, cluster); err != nil {
		t.Error(err)
	}
}

func TestAPIServerAway(t *testing.T) {
	ctx := begin(t)
	addresses := served(ctx, t, "alone")
	home := owner(ctx, t, addresses, herald.Anyone)
	t.Cleanup(func() {
		if err := cluster.StartProgram(context.Background(), lab.APIServer); err != nil {
			t.Error(err)
		}
		restore(t, home)
	})
	before := restarts(ctx, t)
	if err := cluster.KillProgram(lab.APIServer); err != nil {
		t.Fatal(err)
	}

	t.Run("addresses are announced all the same", func(t *testing.T) {
		checkServed(ctx, t, addresses, herald.Only(home))
	})

	t.Run("another node takes over from one that is cut off", func(t *testing.T) {
		if err := cluster.CableOut(ctx, home); err != nil {
			t.Fatal(err)
		}
		checkServed(ctx, t, addresses, herald.OtherThan(home))
		if err := cluster.CableIn(ctx, home); err != nil {
			t.Fatal(err)
		}
		checkServed(ctx, t, addresses, herald.Only(home))
	})

	t.Run("new Services are served once it is back, by processes that never ended", func(t *testing.T) {
		if err := cluster.StartProgram(ctx, lab.APIServer); err != nil {
			t.Fatal(err)
		}
		awaitAPIServer(ctx, t)
		served(ctx, t, "after")
		if now := restarts(ctx, t); now != before {
			t.Errorf("%d restarts, before %d", now, before)
		}
	})
}

// awaitAPIServer waits until a Service could be created: an API server that has just started answers before it knows
// which cluster addresses it may give.
func awaitAPIServer(ctx context.Context, t *testing.T) {
	t.Helper()
	err := herald.Await(ctx, "the API server to take Services", func(ctx context.Context) error {
		try := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "try"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
		dualStack(try)
		_, err := cluster.Client().CoreV1().Services("default").Create(ctx, try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func restarts(ctx context.Context, t *testing.T) int {
	t.Helper()
	return must(herald.Restarts(ctx, cluster))(t)
}
