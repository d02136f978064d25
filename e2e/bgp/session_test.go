//go:build e2e

package bgp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// Each row is a router that cannot be worked with, and what a person is told of it.
func TestWhySessionsAreDown(t *testing.T) {
	shutdown := router.Notification{Code: router.Cease, Subcode: router.Shutdown, Data: append([]byte{7}, "upgrade"...)}
	wrong := open(stranger(0))
	wrong.ASN = 64999
	brief := open(stranger(0))
	brief.HoldTime = 3 * time.Second
	for i, row := range []struct {
		name    string
		script  router.Script // nil: nobody listens
		address netip.Addr    // default: a stranger's
		spec    []string
		reason  string
		words   []string
	}{
		{name: "nobody listens", reason: "connectionRefused"},
		{name: "there is no way", address: netip.MustParseAddr("203.0.113.1"), spec: []string{"ebgpMultiHop: true"}, reason: "noRoute"},
		{name: "the ASN is another", script: router.WellBehaved(wrong), reason: "wrongASN", words: []string{"64999", "64513"}},
		{name: "the router refuses, in words", script: router.Refusing(shutdown), reason: "notificationReceived", words: []string{"upgrade"}},
		{name: "the router ends it, in words", script: router.Notifying(open(stranger(0)), shutdown), reason: "notificationReceived", words: []string{"upgrade"}},
		{name: "the router resets connections", script: router.Resetting, reason: "connectionLost"},
		{name: "the router is silent for the hold time", script: router.Mute(brief), reason: "holdTimerExpired"},
		{name: "the router babbles", script: router.BabblingLater(open(stranger(0)), 1), reason: "protocolError"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx := begin(t)
			name := fmt.Sprintf("down-%d", i)
			if !row.address.IsValid() {
				row.address = stranger(i)
			}
			if row.script != nil {
				listen(ctx, t, lab.Client, row.address, row.script)
			}
			create(ctx, t, peer(name, row.address, slices.Concat(external, row.spec, []string{on("node1")})...))
			awaitState(ctx, t, "node1", name, because(row.reason, row.words...))
			awaitEvent(ctx, t, name, row.reason, row.words...)
		})
	}
}

// awaitEvent waits for a warning on a BGPPeer.
func awaitEvent(ctx context.Context, t *testing.T, peer, reason string, words ...string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("event %s on BGPPeer %s", reason, peer), func(ctx context.Context) error {
		events, err := cluster.Client().CoreV1().Events(herald.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=BGPPeer,involvedObject.name=" + peer,
		})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			missing := func(w string) bool { return !strings.Contains(e.Message, w) }
			if e.Reason == reason && !slices.ContainsFunc(words, missing) {
				return nil
			}
			seen = append(seen, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("its events are %q", seen)
	})
}

// What the hold time is for: a router that hangs is gone when it has passed, on the wire too.
func TestHoldTimeIsEnforced(t *testing.T) {
	ctx := begin(t)
	silent := listen(ctx, t, lab.Client, stranger(0), router.Mute(open(stranger(0))))
	create(ctx, t, peer("mute", stranger(0), append(slices.Clone(external), "holdTime: 3s", on("node1"))...))
	await(ctx, t, "a notification", func(context.Context) error {
		for _, c := range silent.Connections() {
			if n, err := c.Notification(); err == nil {
				return want("code", n.Code, router.HoldTimeExpired)
			}
		}
		return errors.New("none has come")
	})
	first := silent.Connections()[0]
	o, err := first.Open()
	must(t, err)
	if err := want("hold time", o.HoldTime, 3*time.Second); err != nil {
		t.Error(err)
	}
}

// Attempts to connect keep their distance: connectTime's, and without it one that grows.
func TestAttemptsKeepTheirDistance(t *testing.T) {
	ctx := begin(t)
	eager := listen(ctx, t, lab.Client, stranger(0), router.Notifying(open(stranger(0)), router.Notification{Code: router.Cease, Subcode: router.PeerReset}))
	patient := listen(ctx, t, lab.Client, stranger(1), router.Resetting)
	create(ctx, t, peer("eager", stranger(0), append(slices.Clone(external), on("node1"))...))
	create(ctx, t, peer("patient", stranger(1), append(slices.Clone(external), "connectTime: 2s", on("node1"))...))
	await(ctx, t, "three attempts at each", func(context.Context) error {
		if e, p := len(eager.Connections()), len(patient.Connections()); e < 3 || p < 3 {
			return fmt.Errorf("they are %d and %d", e, p)
		}
		return nil
	})
	for what, c := range map[string]struct {
		p    *router.Peer
		gaps time.Duration // shorter ones are a hot loop; RFC 4271, section 10 takes up to a quarter off for jitter
	}{"eager": {eager, 200 * time.Millisecond}, "patient": {patient, 1500 * time.Millisecond}} {
		all := c.p.Connections()
		for i := 1; i < len(all); i++ {
			if gap := all[i].At.Sub(all[i-1].At); gap < c.gaps {
				t.Errorf("%s: attempt %d came %v after the one before", what, i+1, gap)
			}
		}
	}
}

// A change of attributes is an UPDATE of the prefixes concerned, and never a new session.
func TestChangesAreUpdates(t *testing.T) {
	ctx := begin(t)
	watched := listen(ctx, t, lab.Client, stranger(0), router.WellBehaved(open(stranger(0))))
	create(ctx, t, peer("watched", stranger(0), append(slices.Clone(external), on("node1"))...))
	create(ctx, t, advertisement("watched", "serviceSelectors: [{matchLabels: {changes: 'yes'}}]"))
	create(ctx, t, advertisement("steady", "serviceSelectors: [{matchLabels: {changes: 'no'}}]"))
	changes := service(ctx, t, "changes", labelled("changes", "yes"))[0]
	steady := service(ctx, t, "steady", labelled("changes", "no"))[0]
	announced := func(prefix netip.Prefix, times int) {
		t.Helper()
		await(ctx, t, fmt.Sprintf("%d announcements of %s", times, prefix), func(context.Context) error {
			return want("number", count(t, watched.Last(), prefix), times)
		})
	}
	announced(host(changes), 1)
	announced(host(steady), 1)
	change(ctx, t, "BGPAdvertisement", "watched", "spec: {communities: ['64512:1']}")
	announced(host(changes), 2)
	change(ctx, t, "BGPAdvertisement", "watched", "spec: {med: 7}")
	announced(host(changes), 3)
	announced(host(steady), 1)
	if all := watched.Connections(); len(all) != 1 {
		t.Errorf("%d sessions", len(all))
	}
}

// count tells how often a prefix was announced over a connection.
func count(t *testing.T, c *router.Connection, prefix netip.Prefix) (times int) {
	t.Helper()
	if c == nil {
		return 0
	}
	updates, err := c.Updates()
	must(t, err)
	for _, u := range updates {
		if slices.Contains(u.Announced, prefix) {
			times++
		}
	}
	return times
}

// Without localPref, an internal router is told the usual value: routers take a route without any for an error (RFC 4271,
// section 5.1.5; RFC 7606, section 7.5).
func TestLocalPrefWhereUnset(t *testing.T) {
	ctx := begin(t)
	inside := open(stranger(0))
	inside.ASN = nodesASN
	watched := listen(ctx, t, lab.Client, stranger(0), router.WellBehaved(inside))
	create(ctx, t, peer("inside", stranger(0), "myASN: 64512", "peerASN: 64512", on("node1")))
	create(ctx, t, advertisement("inside"))
	address := service(ctx, t, "inside")[0]
	await(ctx, t, "the route", func(context.Context) error { return want("number", count(t, watched.Last(), host(address)), 1) })
	updates, err := watched.Last().Updates()
	must(t, err)
	for _, u := range updates {
		if got := u.Attributes[router.LocalPrefAttribute]; len(u.Announced) > 0 && !slices.Equal(got, []byte{0, 0, 0, 100}) {
			t.Errorf("got %v among %v", got, u.Attributes)
		}
	}
}

// What people see of sessions and Services: status objects, and metrics.
func TestReports(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	everyNode(ctx, t, bird, "bird")
	create(ctx, t, advertisement("reports"))
	service(ctx, t, "reports")

	t.Run("sessions tell what they offer", func(t *testing.T) {
		for _, node := range cluster.NodeNames() {
			for _, name := range []string{"frr", "bird"} {
				awaitState(ctx, t, node, name, func(s sessionState) error {
					return errors.Join(isUp(s), want("prefixes", s.PrefixesAdvertised, int32(2)), want("BFD", s.BFDStatus, "N/A"))
				})
			}
		}
	})
	t.Run("each node tells to whom it offers a Service", func(t *testing.T) {
		awaitBGPStatuses(ctx, t, "reports", []string{"bird", "frr"}, 3)
		change(ctx, t, "BGPAdvertisement", "reports", "spec: {peers: [frr]}")
		awaitBGPStatuses(ctx, t, "reports", []string{"frr"}, 3)
	})
	t.Run("an event on the Service names each node", func(t *testing.T) {
		for _, node := range cluster.NodeNames() {
			await(ctx, t, "event nodeAssigned of "+string(node), func(ctx context.Context) error {
				events, err := cluster.Client().CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=nodeAssigned,involvedObject.name=reports"})
				if err != nil {
					return err
				}
				text := fmt.Sprintf("announcing from node %q with protocol \"bgp\"", node)
				if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Message == text }) {
					return fmt.Errorf("none of %d says %s", len(events.Items), text)
				}
				return nil
			})
		}
	})
	t.Run("metrics tell of sessions", func(t *testing.T) {
		must(t, cluster.Apply(ctx, scraper))
		for _, wanted := range []string{
			`metallb_bgp_session_up{peer="192.168.10.1:179",vrf="default"} 1`, `metallb_bgp_session_up{peer="192.168.10.3:179",vrf="default"} 1`,
			`metallb_bgp_announced_prefixes_total{peer="192.168.10.1:179",vrf="default"} 2`, `metallb_bgp_updates_total{peer="192.168.10.1:179",vrf="default"}`,
		} {
			await(ctx, t, wanted, func(ctx context.Context) error {
				body, err := scrape(ctx, node1.V4)
				if err == nil && !strings.Contains(body, "\n"+wanted) {
					err = fmt.Errorf("it is not among %d bytes", len(body))
				}
				return err
			})
		}
	})
	t.Run("sessions that are gone leave nothing", func(t *testing.T) {
		must(t, of(herald1("BGPPeer")).Delete(ctx, "bird", metav1.DeleteOptions{}))
		await(ctx, t, "three states", func(ctx context.Context) error {
			all, err := statuses[sessionState](ctx, "BGPSessionState")
			if err != nil {
				return err
			}
			return want("number", len(all), 3)
		})
	})
}

type bgpStatus struct {
	Node, ServiceName string
	Peers             []string
}

func awaitBGPStatuses(ctx context.Context, t *testing.T, service string, peers []string, nodes int) {
	t.Helper()
	await(ctx, t, "ServiceBGPStatuses of "+service, func(ctx context.Context) error {
		all, err := statuses[bgpStatus](ctx, "ServiceBGPStatus")
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(s bgpStatus) bool { return s.ServiceName != service })
		wrong := func(s bgpStatus) bool { return !slices.Equal(s.Peers, peers) }
		if len(all) != nodes || slices.ContainsFunc(all, wrong) {
			return fmt.Errorf("they are %+v", all)
		}
		return nil
	})
}

const scraper = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-reads-herald}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "metallb-system:metrics-reader"}
subjects:
- {kind: ServiceAccount, name: prometheus, namespace: default}
`

// scrape reads a speaker's metrics as Prometheus would.
func scrape(ctx context.Context, node netip.Addr) (string, error) {
	token, err := cluster.Client().CoreV1().ServiceAccounts("default").CreateToken(ctx, "prometheus", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:9120/metrics", node), http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token.Status.Token)
	client := http.Client{Transport: &http.Transport{
		DialContext:       cluster.DialFrom(lab.Control),
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate is made at each start, by default
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(response.Status))
	}
	return string(body), err
}
