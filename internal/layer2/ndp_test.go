package layer2

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

var (
	vip6       = netip.MustParseAddr("2001:db8::100")
	eth1Only6  = netip.MustParseAddr("2001:db8::101")
	client6    = netip.MustParseAddr("fe80::2")
	foreign6   = netip.MustParseAddr("2001:db8::9")
	noAddr6    = netip.IPv6Unspecified()
	vip6Group  = netip.MustParseAddr("ff02::1:ff00:100")
	vip6GroupM = mac{0x33, 0x33, 0xff, 0x00, 0x01, 0x00}
	allNodesM  = mac{0x33, 0x33, 0, 0, 0, 1}
)

func ndpIdentity() *identity {
	return &identity{protocol: protocolNDP, link: "eth0", index: 2, mac: ownMAC}
}

// ndpFrame is a message as mdlayher's package writes it, in IPv6 and Ethernet.
func ndpFrame(t testing.TB, from, to mac, source, destination netip.Addr, m ndp.Message) []byte {
	t.Helper()
	message, err := ndp.MarshalMessageChecksum(m, source, destination)
	if err != nil {
		t.Fatal(err)
	}
	return ipv6Frame(from, to, source, destination, message)
}

func ipv6Frame(from, to mac, source, destination netip.Addr, message []byte) []byte {
	var b bytes.Buffer
	b.Write(to[:])
	b.Write(from[:])
	b.Write([]byte{0x86, 0xdd, 0x60, 0, 0, 0})
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(message))))
	b.Write([]byte{58, 255})
	b.Write(source.AsSlice())
	b.Write(destination.AsSlice())
	b.Write(message)
	return b.Bytes()
}

func solicit(target netip.Addr, options ...ndp.Option) ndp.Message {
	return &ndp.NeighborSolicitation{TargetAddress: target, Options: options}
}

func sourceOption(m mac) ndp.Option {
	return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: m[:]}
}

func solicitFrame(t testing.TB, target netip.Addr) []byte {
	return ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(target, sourceOption(clientMAC)))
}

// rawSolicitation has the options as given, and a right checksum.
func rawSolicitation(t testing.TB, options ...byte) []byte {
	t.Helper()
	frame := ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(vip6))
	frame = append(frame, options...)
	binary.BigEndian.PutUint16(frame[18:20], uint16(len(frame)-54))
	frame[56], frame[57] = 0, 0
	binary.BigEndian.PutUint16(frame[56:58], checksum(frame))
	return frame
}

func TestAnswerNDP(t *testing.T) {
	reply := func(to mac, destination netip.Addr, solicited bool) []byte {
		return ndpFrame(t, ownMAC, to, vip6, destination, &ndp.NeighborAdvertisement{
			Solicited: solicited, Override: true, TargetAddress: vip6,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: ownMAC[:]}},
		})
	}
	changed := func(frame []byte, at int, value byte) []byte {
		frame = bytes.Clone(frame)
		frame[at] = value
		return frame
	}
	usual := solicitFrame(t, vip6)
	toClient := reply(clientMAC, client6, true)
	nonce := ndp.Option(&ndp.RawOption{Type: 14, Length: 1, Value: []byte{1, 2, 3, 4, 5, 6}})
	tests := map[string]struct {
		frame []byte
		reply []byte
		drop  drop
	}{
		"a multicast solicitation is answered to its sender":     {frame: usual, reply: toClient},
		"a unicast one to the address itself as well":            {frame: ndpFrame(t, clientMAC, ownMAC, client6, vip6, solicit(vip6, sourceOption(clientMAC))), reply: toClient},
		"one without an option goes to where the frame is from":  {frame: ndpFrame(t, clientMAC, ownMAC, client6, vip6, solicit(vip6)), reply: toClient},
		"the option comes before where the frame is from":        {frame: ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(vip6, sourceOption(otherMAC))), reply: reply(otherMAC, client6, true)},
		"a detector of duplicates is answered through all nodes": {frame: ndpFrame(t, clientMAC, vip6GroupM, noAddr6, vip6Group, solicit(vip6)), reply: reply(allNodesM, allNodes, false)},
		"and with a nonce (RFC 7527) too":                        {frame: ndpFrame(t, clientMAC, vip6GroupM, noAddr6, vip6Group, solicit(vip6, nonce)), reply: reply(allNodesM, allNodes, false)},
		"unknown options are passed over":                        {frame: ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(vip6, nonce, sourceOption(clientMAC))), reply: toClient},
		"padding behind the packet is no part of it":             {frame: append(bytes.Clone(usual), 1, 2, 3), reply: toClient},
		"an address of nobody's is not answered for":             {frame: solicitFrame(t, foreign6), drop: dropUnknownAddress},
		"an address of another link's is not":                    {frame: solicitFrame(t, eth1Only6), drop: dropNotOnLink},
		"a solicitation to another host is not answered":         {frame: ndpFrame(t, clientMAC, otherMAC, client6, vip6, solicit(vip6)), drop: dropOtherDestination},
		"an advertisement is not":                                {frame: reply(clientMAC, client6, true), drop: dropNotRequest},
		"another next header is not":                             {frame: changed(usual, 20, 17), drop: dropNotRequest},
		"a frame of our own is not":                              {frame: ndpFrame(t, ownMAC, vip6GroupM, client6, vip6Group, solicit(vip6, sourceOption(clientMAC))), drop: dropOwnFrame},
		"a request in our own name is not":                       {frame: ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(vip6, sourceOption(ownMAC))), drop: dropOwnFrame},
		"a sender that is a group is not":                        {frame: ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(vip6, sourceOption(groupedMAC))), drop: dropMalformed},
		"what a router has forwarded is not":                     {frame: changed(usual, 21, 254), drop: dropMalformed},
		"another IP version is not":                              {frame: changed(usual, 14, 0x40), drop: dropMalformed},
		"another ICMP code is not":                               {frame: changed(usual, 55, 1), drop: dropMalformed},
		"a wrong checksum is not":                                {frame: changed(usual, 57, usual[57]+1), drop: dropMalformed},
		"a detector that gives its MAC is not":                   {frame: ndpFrame(t, clientMAC, vip6GroupM, noAddr6, vip6Group, solicit(vip6, sourceOption(clientMAC))), drop: dropMalformed},
		"a detector that asks in unicast is not":                 {frame: ndpFrame(t, clientMAC, ownMAC, noAddr6, vip6, solicit(vip6)), drop: dropMalformed},
		"a multicast target is not":                              {frame: ndpFrame(t, clientMAC, vip6GroupM, client6, vip6Group, solicit(netip.MustParseAddr("ff02::1"))), drop: dropMalformed},
		"a multicast source is not":                              {frame: ndpFrame(t, clientMAC, vip6GroupM, allNodes, vip6Group, solicit(vip6)), drop: dropMalformed},
		"an option without length is not":                        {frame: rawSolicitation(t, 1, 0, 2, 0, 0, 0, 0, 2), drop: dropMalformed},
		"an option that is cut off is not":                       {frame: rawSolicitation(t, 1, 2, 2, 0, 0, 0, 0, 2), drop: dropMalformed},
		"half an option is not":                                  {frame: rawSolicitation(t, 1, 1, 2), drop: dropMalformed},
		"a packet longer than its frame is not":                  {frame: usual[:len(usual)-1], drop: dropMalformed},
		"a frame that is cut off is not":                         {frame: usual[:77], drop: dropNotRequest},
		"an empty frame is not":                                  {frame: nil, drop: dropNotRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var buf frameBuffer
			reply, e, why := answerNDP(tt.frame, testTable(), ndpIdentity(), &buf)
			if diff := cmp.Diff(tt.reply, reply); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
			if why != tt.drop || (e != nil) != (tt.reply != nil) {
				t.Errorf("got entry %v, drop %q; want drop %q", e, why, tt.drop)
			}
		})
	}
}

func TestAnnouncementOfNDP(t *testing.T) {
	var buf frameBuffer
	want := ndpFrame(t, ownMAC, allNodesM, vip6, allNodes, &ndp.NeighborAdvertisement{
		Override: true, TargetAddress: vip6,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: ownMAC[:]}},
	})
	if diff := cmp.Diff(want, announcementNDP(&buf, ndpIdentity(), vip6)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSolicitedNode(t *testing.T) {
	addr := netip.MustParseAddr("2001:db8:1:2:3:4:5678:9abc")
	want, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		t.Fatal(err)
	}
	if got := solicitedNode(addr); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := groupMAC(want), (mac{0x33, 0x33, 0xff, 0x78, 0x9a, 0xbc}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzAnswerNDP compares with mdlayher's parser: whatever we answer is, to it,
// a solicitation for the address that we answer for.
func FuzzAnswerNDP(f *testing.F) {
	f.Add(solicitFrame(f, vip6))
	f.Add(solicitFrame(f, foreign6))
	f.Add(ndpFrame(f, clientMAC, vip6GroupM, noAddr6, vip6Group, solicit(vip6)))
	f.Add(rawSolicitation(f, 1, 0, 2, 0, 0, 0, 0, 2))
	f.Add(rawSolicitation(f, 14, 1, 2, 0, 0, 0, 0, 2, 1, 1, 2, 0, 0, 0, 0, 2))
	table := testTable()
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = withChecksum(frame)
		var buf frameBuffer
		reply, e, why := answerNDP(frame, table, ndpIdentity(), &buf)
		if (why == answered) != (reply != nil) || (why == answered) != (e != nil) {
			t.Fatalf("reply %x, entry %v, drop %q", reply, e, why)
		}
		if why != answered {
			return
		}
		m, err := ndp.ParseMessage(frame[54 : 54+int(binary.BigEndian.Uint16(frame[18:20]))])
		if err != nil {
			t.Skip("an option that mdlayher does not like")
		}
		if ns, ok := m.(*ndp.NeighborSolicitation); !ok || ns.TargetAddress != vip6 || e.Address != vip6 {
			t.Errorf("answered %+v", m)
		}
		said, err := ndp.ParseMessage(reply[54:])
		if err != nil {
			t.Fatal(err)
		}
		want := &ndp.NeighborAdvertisement{
			Solicited: netip.AddrFrom16([16]byte(frame[22:38])) != noAddr6, Override: true, TargetAddress: vip6,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: net.HardwareAddr(ownMAC[:])}},
		}
		if diff := cmp.Diff(want, said, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
	})
}

// withChecksum makes the checksum right, which a fuzzer would never find.
func withChecksum(frame []byte) []byte {
	if len(frame) < 78 {
		return frame
	}
	frame = bytes.Clone(frame)
	end := 54 + int(binary.BigEndian.Uint16(frame[18:20]))
	if end < 78 || end > len(frame) {
		return frame
	}
	frame[56], frame[57] = 0, 0
	binary.BigEndian.PutUint16(frame[56:58], checksum(frame[:end]))
	return frame
}

func BenchmarkAnswerNDP(b *testing.B) {
	frame, table, id := solicitFrame(b, vip6), largeTable(), ndpIdentity()
	var buf frameBuffer
	b.ReportAllocs()
	for b.Loop() {
		if _, _, why := answerNDP(frame, table, id, &buf); why != answered {
			b.Fatal(why)
		}
	}
}
