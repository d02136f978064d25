package router

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// MessageType is that of a BGP message (RFC 4271, section 4.1; RFC 2918).
type MessageType byte

// The types of messages.
const (
	OpenMessage         MessageType = 1
	UpdateMessage       MessageType = 2
	NotificationMessage MessageType = 3
	KeepaliveMessage    MessageType = 4
	RefreshMessage      MessageType = 5
)

// Message is one that was received.
type Message struct {
	At   time.Time
	Type MessageType
	Body []byte // what follows the header
}

const headerLength = 19

// encode puts the header before a body: a marker of ones, the length, the type.
func encode(kind MessageType, body []byte) []byte {
	out := slices.Repeat([]byte{0xff}, 16)
	out = binary.BigEndian.AppendUint16(out, uint16(headerLength+len(body)))
	return append(append(out, byte(kind)), body...)
}

func readMessage(from io.Reader) (Message, error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(from, header); err != nil {
		return Message{}, err
	}
	length := int(binary.BigEndian.Uint16(header[16:]))
	if length < headerLength {
		return Message{}, fmt.Errorf("a BGP message of %d bytes", length)
	}
	body := make([]byte, length-headerLength)
	_, err := io.ReadFull(from, body)
	return Message{At: time.Now(), Type: MessageType(header[18]), Body: body}, err
}

// Open is what an OPEN message says (RFC 4271, section 4.2).
type Open struct {
	ASN          uint32
	HoldTime     time.Duration
	RouterID     netip.Addr
	Capabilities map[byte][]byte // the last of each code (RFC 5492)
}

// Codes of capabilities (IANA's registry).
const (
	MultiprotocolCapability   = 1
	ExtendedNextHopCapability = 5
	GracefulRestartCapability = 64
	FourByteASNCapability     = 65
)

// asTrans stands for an ASN that needs four bytes (RFC 6793).
const asTrans = 23456

// encode offers both families and, as long as it is not among them, the ASN in four bytes.
func (o Open) encode() []byte {
	body := []byte{4}
	short := o.ASN
	if short > 0xffff {
		short = asTrans
	}
	body = binary.BigEndian.AppendUint16(body, uint16(short))
	body = binary.BigEndian.AppendUint16(body, uint16(o.HoldTime/time.Second))
	body = append(body, o.RouterID.AsSlice()...)
	capabilities := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, FourByteASNCapability, 4}
	capabilities = binary.BigEndian.AppendUint32(capabilities, o.ASN)
	for code, value := range o.Capabilities {
		capabilities = append(append(capabilities, code, byte(len(value))), value...)
	}
	body = append(body, byte(len(capabilities)+2), 2, byte(len(capabilities)))
	return encode(OpenMessage, append(body, capabilities...))
}

var errShort = errors.New("it ends too early")

// Open reads an OPEN message.
func (m Message) Open() (Open, error) {
	if m.Type != OpenMessage || len(m.Body) < 10 {
		return Open{}, fmt.Errorf("read an OPEN message: %w", errShort)
	}
	o := Open{
		ASN:          uint32(binary.BigEndian.Uint16(m.Body[1:])),
		HoldTime:     time.Duration(binary.BigEndian.Uint16(m.Body[3:])) * time.Second,
		RouterID:     netip.AddrFrom4([4]byte(m.Body[5:9])),
		Capabilities: map[byte][]byte{},
	}
	for parameters := m.Body[10:]; len(parameters) >= 2; {
		kind, length := parameters[0], int(parameters[1])
		if len(parameters) < 2+length {
			return o, fmt.Errorf("read the parameters of an OPEN message: %w", errShort)
		}
		if kind == 2 {
			o.readCapabilities(parameters[2 : 2+length])
		}
		parameters = parameters[2+length:]
	}
	if asn := o.Capabilities[FourByteASNCapability]; len(asn) == 4 {
		o.ASN = binary.BigEndian.Uint32(asn)
	}
	return o, nil
}

func (o Open) readCapabilities(text []byte) {
	for len(text) >= 2 && len(text) >= 2+int(text[1]) {
		o.Capabilities[text[0]] = text[2 : 2+int(text[1])]
		text = text[2+int(text[1]):]
	}
}

// Notification is what a NOTIFICATION message says (RFC 4271, section 4.5).
type Notification struct {
	Code, Subcode byte
	Data          []byte
}

// Codes of notifications.
const (
	OpenError       = 2
	BadPeerAS       = 2 // a subcode of OpenError
	UpdateError     = 3
	HoldTimeExpired = 4
	Cease           = 6
	Shutdown        = 2 // a subcode of Cease
	PeerReset       = 4 // a subcode of Cease
)

// Text is what a person has to say about a shutdown (RFC 9003).
func (n Notification) Text() string {
	if n.Code != Cease || len(n.Data) == 0 || len(n.Data) < 1+int(n.Data[0]) {
		return ""
	}
	return string(n.Data[1 : 1+int(n.Data[0])])
}

// Notification reads a NOTIFICATION message.
func (m Message) Notification() (Notification, error) {
	if m.Type != NotificationMessage || len(m.Body) < 2 {
		return Notification{}, fmt.Errorf("read a NOTIFICATION message: %w", errShort)
	}
	return Notification{m.Body[0], m.Body[1], m.Body[2:]}, nil
}

// Update is what an UPDATE message says (RFC 4271, section 4.3; RFC 4760).
type Update struct {
	Withdrawn, Announced []netip.Prefix
	Attributes           map[byte][]byte // by type
}

// EndOfRIB says whether it is the mark at the end of all routes of a family (RFC 4724, section 2).
func (u Update) EndOfRIB() bool {
	_, unreached := u.Attributes[mpUnreachable]
	return len(u.Withdrawn) == 0 && len(u.Announced) == 0 && (len(u.Attributes) == 0 || (unreached && len(u.Attributes) == 1))
}

// Types of path attributes.
const (
	LocalPrefAttribute = 5
	MEDAttribute       = 4

	mpReachable   = 14
	mpUnreachable = 15
)

// Update reads an UPDATE message.
func (m Message) Update() (u Update, err error) {
	withdrawn, rest, err := cut(m.Body)
	if m.Type != UpdateMessage || err != nil {
		return u, fmt.Errorf("read an UPDATE message: %w", errors.Join(errShort, err))
	}
	attributes, announced, err := cut(rest)
	if err != nil {
		return u, fmt.Errorf("read the attributes of an UPDATE message: %w", err)
	}
	if u.Withdrawn, err = readPrefixes(withdrawn, 4); err != nil {
		return u, err
	}
	if u.Announced, err = readPrefixes(announced, 4); err != nil {
		return u, err
	}
	if u.Attributes, err = readAttributes(attributes); err != nil {
		return u, err
	}
	return u, u.readMultiprotocol()
}

// cut takes a part off that its length in two bytes precedes.
func cut(text []byte) (part, rest []byte, err error) {
	if len(text) < 2 || len(text) < 2+int(binary.BigEndian.Uint16(text)) {
		return nil, nil, errShort
	}
	end := 2 + int(binary.BigEndian.Uint16(text))
	return text[2:end], text[end:], nil
}

func readPrefixes(text []byte, size int) (all []netip.Prefix, err error) {
	for len(text) > 0 {
		bits, length := int(text[0]), (int(text[0])+7)/8
		if length > size || len(text) < 1+length {
			return nil, fmt.Errorf("read a prefix: %w", errShort)
		}
		address := make([]byte, size)
		copy(address, text[1:1+length])
		addr, _ := netip.AddrFromSlice(address)
		all = append(all, netip.PrefixFrom(addr, bits))
		text = text[1+length:]
	}
	return all, nil
}

func readAttributes(text []byte) (map[byte][]byte, error) {
	const extended = 1 << 4 // the length takes two bytes
	all := map[byte][]byte{}
	for len(text) > 2 {
		start, length := 3, int(text[2])
		if text[0]&extended != 0 && len(text) > 3 {
			start, length = 4, int(binary.BigEndian.Uint16(text[2:]))
		}
		if len(text) < start+length {
			return nil, fmt.Errorf("read attribute %d: %w", text[1], errShort)
		}
		all[text[1]] = text[start : start+length]
		text = text[start+length:]
	}
	return all, nil
}

// readMultiprotocol reads the prefixes that are in attributes: after the family in three bytes, and where they are reachable
// the next hop with its length before it, and one reserved byte.
func (u *Update) readMultiprotocol() error {
	if text := u.Attributes[mpReachable]; len(text) > 4 && len(text) >= 5+int(text[3]) {
		found, err := readPrefixes(text[5+int(text[3]):], familySize(text))
		if err != nil {
			return err
		}
		u.Announced = append(u.Announced, found...)
	}
	if text := u.Attributes[mpUnreachable]; len(text) >= 3 {
		found, err := readPrefixes(text[3:], familySize(text))
		if err != nil {
			return err
		}
		u.Withdrawn = append(u.Withdrawn, found...)
	}
	return nil
}

// familySize is the length of the family's addresses: 1 is IPv4, 2 is IPv6 (IANA's address family numbers).
func familySize(text []byte) int {
	if binary.BigEndian.Uint16(text) == 1 {
		return 4
	}
	return 16
}
