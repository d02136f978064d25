//go:build e2e

package layer2

import (
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/neighbour"
)

// A speaker that leaves in good order and comes back hands its addresses over, and takes them back, while a neighbour asks
// all the time: at every moment there is somebody who answers. Half a second late is not lost.
func TestNoRequestIsLostAtAHandOver(t *testing.T) {
	ctx := begin(t)
	address := service(ctx, t, "gap")[0]
	advertise(ctx, t, "gap")
	owner := first(address, all()...)
	awaitOwner(ctx, t, []netip.Addr{address}, owner)

	questions := neighbour.Questions{Link: "eth0", Targets: []netip.Addr{address}, Every: 5 * time.Millisecond, For: 10 * time.Second}
	for n := range 100 {
		questions.As = append(questions.As, netip.AddrFrom4([4]byte{192, 168, 10, byte(100 + n)}))
	}
	answered := make(chan []neighbour.Answers)
	go func() {
		answers, err := neighbour.AskFrom(ctx, fromClient, questions)
		if err != nil {
			t.Error(err)
		}
		answered <- answers
	}()
	time.Sleep(time.Second) // the client has to be started
	pod, err := herald.Speaker(ctx, cluster, owner)
	must(t, err)
	must(t, cluster.Client().CoreV1().Pods(herald.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}))
	for _, a := range <-answered {
		t.Logf("%d answers, %d lost", len(a.Took), a.Lost)
		if a.Lost > 0 {
			t.Errorf("nobody answered %d requests of %d", a.Lost, len(a.Took)+a.Lost)
		}
	}
	awaitOwner(ctx, t, []netip.Addr{address}, owner)
}
