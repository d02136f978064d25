package router

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func ptr(n uint32) *uint32 { return &n }

var (
	service4 = netip.MustParsePrefix("192.168.10.200/32")
	node1    = netip.MustParseAddr("192.168.10.11")
	node2    = netip.MustParseAddr("192.168.10.12")
)

// equal compares what a parser made of a router's words with what it should.
func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

const frrNeighbors = `{
  "192.168.10.11":{"remoteAs":64512,"remoteRouterId":"192.168.10.11","bgpState":"Established","bgpTimerUpMsec":61000,
    "bgpTimerHoldTimeMsecs":9000,"bgpTimerKeepAliveIntervalMsecs":3000,
    "neighborCapabilities":{"extendedNexthop":"advertisedAndReceived","gracefulRestart":"advertisedAndReceived",
      "gracefulRestartRemoteTimerMsecs":120000,"addressFamiliesByPeer":{"ipv4Unicast":{"restartTimer":120}}},
    "messageStats":{"updatesRecv":3},"addressFamilyInfo":{"ipv4Unicast":{"acceptedPrefixCounter":2}},
    "connectionsEstablished":1,"connectionsDropped":0},
  "192.168.10.12":{"remoteAs":64512,"remoteRouterId":"0.0.0.0","bgpState":"Active","lastNotificationReason":"Cease/Administrative Shutdown",
    "lastShutdownDescription":"going away","lastResetDueTo":"BGP Notification received",
    "neighborCapabilities":{"gracefulRestart":"advertised","addressFamiliesByPeer":"none"},
    "connectionsEstablished":1,"connectionsDropped":1}}`

func TestFRRSessions(t *testing.T) {
	var said map[string]json.RawMessage
	if err := json.Unmarshal([]byte(frrNeighbors), &said); err != nil {
		t.Fatal(err)
	}
	got, err := parseFRRSessions(said)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []Session{
		{
			Neighbour: "192.168.10.11", State: "Established", Established: true, Uptime: 61 * time.Second, ASN: 64512, RouterID: node1,
			HoldTime: 9 * time.Second, Keepalive: 3 * time.Second, Capabilities: []string{GracefulRestart, ExtendedNextHop},
			RestartTime: 2 * time.Minute, Ups: 1, Received: 2, UpdatesReceived: 3,
		},
		{
			Neighbour: "192.168.10.12", State: "Active", ASN: 64512, Ups: 1, Downs: 1,
			LastError: "BGP Notification received: Cease/Administrative Shutdown: going away",
		},
	})
}

const frrTable = `{"vrfId": 0, "routes": { "192.168.10.200/32": [{"prefix":"192.168.10.200/32","version":2},
{"aspath":{"string":"64512","segments":[{"type":"as-sequence","list":[64512,64512]}],"length":2},"origin":"IGP","metric":55,"valid":true,
 "bestpath":{"overall":true},"community":{"string":"64512:100 no-export"},"largeCommunity":{"list":["1:2:3"]},
 "nexthops":[{"ip":"192.168.10.11","afi":"ipv4","used":true}],"peer":{"peerId":"192.168.10.11"}},
{"aspath":{"segments":[]},"locPrf":200,"multipath":true,"stale":true,
 "nexthops":[{"ip":"192.168.10.12"}],"peer":{"peerId":"192.168.10.12","interface":"direct0"}}]
 }  }`

func TestFRRRoutes(t *testing.T) {
	got, err := parseFRRRoutes(frrTable)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []Route{
		{
			Prefix: service4, From: "192.168.10.11", NextHops: []netip.Addr{node1}, Path: []uint32{64512, 64512}, MED: ptr(55), Best: true,
			Communities: []string{"64512:100", "65535:65281"}, LargeCommunities: []string{"1:2:3"},
		},
		{Prefix: service4, From: "direct0", NextHops: []netip.Addr{node2}, LocalPref: ptr(200), Best: true, Stale: true},
	})
	if none, err := parseFRRRoutes(" \n"); none != nil || err != nil {
		t.Errorf("without a router: got %v, %v", none, err)
	}
}

const birdProtocols = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     16:15:08.860  
with_one   BGP        ---        up     16:15:34.309  Established   
  BGP state:          Established
    Neighbor address: 192.168.10.11
    Neighbor AS:      64512
    Local AS:         64513
    Neighbor ID:      192.168.10.11
    Local capabilities
      Graceful restart
        Restart time: 120
    Neighbor capabilities
      Multiprotocol
        AF announced: ipv4 ipv6
      Graceful restart
        Restart time: 90
        AF supported: ipv4
      4-octet AS numbers
    Session:          external AS4
    Source address:   192.168.10.3
    Hold timer:       8.193/9
    Keepalive timer:  2.013/3
  Channel ipv4
    State:          UP
    Routes:         2 imported, 0 exported, 2 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:              5          0          0          0          5
with_two   BGP        ---        start  16:15:13.562  Idle          Received: Administrative shutdown
  BGP state:          Idle
    Neighbor address: 192.168.10.12
    Neighbor AS:      64512
    Last error:       Received: Administrative shutdown
`

func TestBIRDSessions(t *testing.T) {
	got, err := parseBIRDSessions(birdProtocols)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []Session{
		{
			Neighbour: "192.168.10.11", State: "Established", Established: true, ASN: 64512, RouterID: node1, HoldTime: 9 * time.Second,
			Keepalive: 3 * time.Second, Capabilities: []string{GracefulRestart}, RestartTime: 90 * time.Second, Received: 2, UpdatesReceived: 5,
		},
		{Neighbour: "192.168.10.12", State: "Idle", ASN: 64512, LastError: "Received: Administrative shutdown"},
	})
}

const birdTable = "BIRD 2.0.12 ready.\nTable master4:\n" +
	"192.168.10.200/32    unicast [with_one 16:15:34.309] * (100) [AS64512i]\n" +
	"\tvia 192.168.10.11 on eth0\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 64512 64512\n\tBGP.next_hop: 192.168.10.11\n" +
	"\tBGP.med: 55\n\tBGP.local_pref: 100\n\tBGP.community: (65535,65281) (64512,100)\n\tBGP.large_community: (1, 2, 3)\n" +
	"                     unicast [with_two 16:15:34.310] (100) [AS64512i]\n" +
	"\tvia 192.168.10.12 on eth0\n\tBGP.as_path: \n\tBGP.next_hop: 192.168.10.12\n"

func TestBIRDRoutes(t *testing.T) {
	got, err := parseBIRDRoutes(birdTable, parseBIRDNeighbours(birdProtocols))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []Route{
		{
			Prefix: service4, From: "192.168.10.11", NextHops: []netip.Addr{node1}, Path: []uint32{64512, 64512}, LocalPref: ptr(100), MED: ptr(55),
			Communities: []string{"64512:100", "65535:65281"}, LargeCommunities: []string{"1:2:3"}, Best: true,
		},
		{Prefix: service4, From: "192.168.10.12", NextHops: []netip.Addr{node2}},
	})
}

func TestBIRDBFD(t *testing.T) {
	got := parseBIRDBFD("BIRD 2.0.12 ready.\nwatch:\nIP address   Interface  State  Since         Interval  Timeout\n192.168.10.11 eth0      Up     16:15:14.562    0.300    0.900\n")
	equal(t, got, []BFDSession{{Peer: node1, State: "up", Up: true}})
}

func TestKernelRoutes(t *testing.T) {
	got, err := parseKernelRoutes(`[{"dst":"192.168.10.200","nhid":15,"nexthops":[{"gateway":"192.168.10.12","dev":"eth0"},{"gateway":"192.168.10.11","dev":"eth0"}]},
{"dst":"192.168.10.0/26","gateway":"192.168.10.11","dev":"eth0"},{"dst":"192.168.10.201","via":{"family":"inet6","host":"fe80::1"},"dev":"direct0"}]`)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []KernelRoute{
		{Prefix: service4, NextHops: []netip.Addr{node1, node2}},
		{Prefix: netip.MustParsePrefix("192.168.10.0/26"), NextHops: []netip.Addr{node1}},
		{Prefix: netip.MustParsePrefix("192.168.10.201/32"), NextHops: []netip.Addr{netip.MustParseAddr("fe80::1")}},
	})
}

func TestKernelEvents(t *testing.T) {
	at := time.Unix(1, 0)
	for _, c := range []struct {
		line string
		want KernelEvent
		ok   bool
	}{
		{"192.168.10.200 nhid 15 via 192.168.10.11 dev eth0 proto bgp metric 20 ", KernelEvent{At: at, Prefix: service4}, true},
		{"Deleted 192.168.10.200 proto bird metric 32", KernelEvent{At: at, Prefix: service4, Gone: true}, true},
		{"default via 192.168.10.1 dev eth0 ", KernelEvent{}, false},
	} {
		if got, ok := parseKernelEvent(c.line, at); ok != c.ok || (ok && got != c.want) {
			t.Errorf("%s: got %+v, %v", c.line, got, ok)
		}
	}
}
