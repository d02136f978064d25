package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/probe"
)

// flaky is a server on loopback, and a way to it that can be cut.
type flaky struct {
	server *httptest.Server
	cut    atomic.Bool
}

func newFlaky(t *testing.T, answer http.HandlerFunc) *flaky {
	f := &flaky{server: httptest.NewServer(answer)}
	t.Cleanup(f.server.Close)
	return f
}

func (f *flaky) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if f.cut.Load() {
		return nil, errors.New("the cable is out")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (f *flaky) options() probe.Options {
	return probe.Options{Dial: f.dial, Address: netip.MustParseAddrPort(f.server.Listener.Addr().String()), Path: "/", Every: time.Millisecond, Timeout: 10 * time.Second}
}

func TestProbeSeesACutAndItsEnd(t *testing.T) {
	f := newFlaky(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "pod-1") })
	p := probe.Start(f.options())
	await(t, p, time.Now())
	f.cut.Store(true)
	for failed := false; !failed; time.Sleep(time.Millisecond) {
		for _, a := range p.Attempts() {
			failed = failed || a.Err != nil
		}
	}
	f.cut.Store(false)
	await(t, p, time.Now())
	if r := p.Stop(); r.Failed == 0 || !r.Over || r.Outage <= 0 {
		t.Errorf("cut and mended: got %v", r)
	}
	if answer := p.Attempts()[0].Answer; answer != "pod-1" {
		t.Errorf("answer: got %q, want pod-1", answer)
	}
}

func TestProbeReportsAnAnswerThatIsNoSuccess(t *testing.T) {
	f := newFlaky(t, http.NotFound)
	p := probe.Start(f.options())
	for len(p.Attempts()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if r := p.Stop(); r.Failed != r.Attempts {
		t.Errorf("404 for all: got %v", r)
	}
}

func await(t *testing.T, p *probe.Probe, after time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.AwaitSuccess(ctx, after); err != nil {
		t.Fatal(err)
	}
}
