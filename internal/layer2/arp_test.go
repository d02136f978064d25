package layer2

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"

	"github.com/herald-lb/herald/internal/lb"
)

var (
	ownMAC     = mac{2, 0, 0, 0, 0, 1}
	clientMAC  = mac{2, 0, 0, 0, 0, 2}
	otherMAC   = mac{2, 0, 0, 0, 0, 3}
	groupedMAC = mac{3, 0, 0, 0, 0, 3}
	vip4       = netip.MustParseAddr("192.0.2.100")
	eth1Only4  = netip.MustParseAddr("192.0.2.101")
	client4    = netip.MustParseAddr("192.0.2.2")
	foreign4   = netip.MustParseAddr("192.0.2.9")
	noAddr4    = netip.IPv4Unspecified()
)

// testTable announces one address of each family everywhere, and one on eth1.
func testTable() *table {
	return new(table).with([]lb.Announcement{
		{Address: vip4},
		{Address: eth1Only4, Links: []string{"eth1"}},
		{Address: vip6},
		{Address: eth1Only6, Links: []string{"eth1"}},
	})
}

func arpIdentity() *identity {
	return &identity{protocol: protocolARP, link: "eth0", index: 2, mac: ownMAC}
}

// arpFrame is an ARP packet as mdlayher's packages write it.
func arpFrame(t testing.TB, op arp.Operation, from, to, senderMAC mac, sender netip.Addr, targetMAC mac, target netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, senderMAC[:], sender, targetMAC[:], target)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	f := ethernet.Frame{Destination: to[:], Source: from[:], EtherType: ethernet.EtherTypeARP, Payload: payload}
	frame, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func requestFrame(t testing.TB, to mac, sender, target netip.Addr) []byte {
	return arpFrame(t, arp.OperationRequest, clientMAC, to, clientMAC, sender, mac{}, target)
}

func TestAnswerARP(t *testing.T) {
	reply := func(target, asker netip.Addr) []byte {
		return arpFrame(t, arp.OperationReply, ownMAC, clientMAC, ownMAC, target, clientMAC, asker)[:42]
	}
	changed := func(frame []byte, at int, value byte) []byte {
		frame = bytes.Clone(frame)
		frame[at] = value
		return frame
	}
	usual := requestFrame(t, broadcast, client4, vip4)
	tests := map[string]struct {
		frame []byte
		reply []byte
		entry netip.Addr
		drop  drop
	}{
		"a broadcast request is answered to its sender":    {frame: usual, reply: reply(vip4, client4), entry: vip4},
		"a unicast request is answered too":                {frame: requestFrame(t, ownMAC, client4, vip4), reply: reply(vip4, client4), entry: vip4},
		"a probe, which has no sender address, is as well": {frame: requestFrame(t, broadcast, noAddr4, vip4), reply: reply(vip4, noAddr4), entry: vip4},
		"an address of nobody's is not":                    {frame: requestFrame(t, broadcast, client4, foreign4), drop: dropUnknownAddress},
		"an address of another link's is not":              {frame: requestFrame(t, broadcast, client4, eth1Only4), drop: dropNotOnLink},
		"a request to another host is not":                 {frame: requestFrame(t, otherMAC, client4, vip4), drop: dropOtherDestination},
		"a request to a multicast group is not":            {frame: requestFrame(t, groupedMAC, client4, vip4), drop: dropOtherDestination},
		"a reply is not":                                   {frame: arpFrame(t, arp.OperationReply, clientMAC, ownMAC, clientMAC, client4, ownMAC, vip4), drop: dropNotRequest},
		"an announcement of the new owner is not":          {frame: requestFrame(t, broadcast, vip4, vip4), drop: dropOtherClaims},
		"a frame of our own is not":                        {frame: arpFrame(t, arp.OperationRequest, ownMAC, broadcast, clientMAC, client4, mac{}, vip4), drop: dropOwnFrame},
		"a request in our own name is not":                 {frame: arpFrame(t, arp.OperationRequest, clientMAC, broadcast, ownMAC, client4, mac{}, vip4), drop: dropOwnFrame},
		"a sender that is a group is not":                  {frame: arpFrame(t, arp.OperationRequest, clientMAC, broadcast, groupedMAC, client4, mac{}, vip4), drop: dropMalformed},
		"a sender that is nobody is not":                   {frame: arpFrame(t, arp.OperationRequest, clientMAC, broadcast, mac{}, client4, mac{}, vip4), drop: dropMalformed},
		"a frame that is cut off is not":                   {frame: usual[:41], drop: dropMalformed},
		"an empty frame is not":                            {frame: nil, drop: dropMalformed},
		"another hardware type is not":                     {frame: changed(usual, 15, 6), drop: dropMalformed},
		"another protocol is not":                          {frame: changed(usual, 16, 0x86), drop: dropMalformed},
		"longer hardware addresses are not":                {frame: changed(usual, 18, 8), drop: dropMalformed},
		"longer protocol addresses are not":                {frame: changed(usual, 19, 16), drop: dropMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var buf frameBuffer
			reply, e, why := answerARP(tt.frame, testTable(), arpIdentity(), &buf)
			if diff := cmp.Diff(tt.reply, reply); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
			if why != tt.drop || (e != nil) != tt.entry.IsValid() || e != nil && e.Address != tt.entry {
				t.Errorf("got entry %v, drop %q; want entry %v, drop %q", e, why, tt.entry, tt.drop)
			}
		})
	}
}

func TestAnnouncementsOfARP(t *testing.T) {
	var request, reply frameBuffer
	want := [][]byte{
		arpFrame(t, arp.OperationRequest, ownMAC, broadcast, ownMAC, vip4, mac{}, vip4)[:42],
		arpFrame(t, arp.OperationReply, ownMAC, broadcast, ownMAC, vip4, ownMAC, vip4)[:42],
	}
	got := [][]byte{
		announcementARP(&request, arpIdentity(), vip4),
		announcementARPReply(&reply, arpIdentity(), vip4),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzAnswerARP compares with mdlayher's parser: whatever we answer is, to it,
// a request for the address that we answer for, and our answer a reply to it.
func FuzzAnswerARP(f *testing.F) {
	f.Add(requestFrame(f, broadcast, client4, vip4))
	f.Add(requestFrame(f, ownMAC, noAddr4, vip4))
	f.Add(requestFrame(f, broadcast, client4, eth1Only4))
	f.Add(arpFrame(f, arp.OperationReply, clientMAC, ownMAC, clientMAC, client4, ownMAC, vip4))
	table := testTable()
	f.Fuzz(func(t *testing.T, frame []byte) {
		var buf frameBuffer
		reply, e, why := answerARP(frame, table, arpIdentity(), &buf)
		if (why == answered) != (reply != nil) || (why == answered) != (e != nil) {
			t.Fatalf("reply %x, entry %v, drop %q", reply, e, why)
		}
		if why != answered {
			return
		}
		var asked, said arp.Packet
		if err := asked.UnmarshalBinary(frame[14:]); err != nil {
			t.Fatal(err)
		}
		if err := said.UnmarshalBinary(reply[14:]); err != nil {
			t.Fatal(err)
		}
		want := arp.Packet{
			HardwareType: 1, ProtocolType: uint16(ethernet.EtherTypeIPv4), HardwareAddrLength: 6, IPLength: 4,
			Operation:          arp.OperationReply,
			SenderHardwareAddr: net.HardwareAddr(ownMAC[:]), SenderIP: asked.TargetIP,
			TargetHardwareAddr: asked.SenderHardwareAddr, TargetIP: asked.SenderIP,
		}
		if diff := cmp.Diff(want, said, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
		if asked.Operation != arp.OperationRequest || asked.TargetIP != vip4 || e.Address != vip4 || mac(reply[:6]) != mac(asked.SenderHardwareAddr) {
			t.Errorf("answered %+v", asked)
		}
	})
}

func BenchmarkAnswerARP(b *testing.B) {
	frame, table, id := requestFrame(b, broadcast, client4, vip4), largeTable(), arpIdentity()
	var buf frameBuffer
	b.ReportAllocs()
	for b.Loop() {
		if _, _, why := answerARP(frame, table, id, &buf); why != answered {
			b.Fatal(why)
		}
	}
}

func BenchmarkDropARPForAnotherHost(b *testing.B) {
	frame, table, id := requestFrame(b, broadcast, client4, foreign4), largeTable(), arpIdentity()
	var buf frameBuffer
	b.ReportAllocs()
	for b.Loop() {
		if _, _, why := answerARP(frame, table, id, &buf); why != dropUnknownAddress {
			b.Fatal(why)
		}
	}
}
