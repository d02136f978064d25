package bgp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// notification is the last message on a connection: why its sender ends it (RFC 4271, 4.5).
type notification struct {
	code, subcode uint8
	data          []byte
}

// cease ends a session in good order. The message, of up to 255 bytes, is for the people
// at the other end (RFC 9003); it has a place in administrative shutdowns and resets only.
func cease(subcode uint8, message string) *notification {
	n := &notification{code: bgp.BGP_ERROR_CEASE, subcode: subcode}
	if n.hasMessage() {
		n.data = append([]byte{byte(len(message))}, message...)
	}
	return n
}

// parseNotification reads the body of a NOTIFICATION.
func parseNotification(body []byte) (*notification, *sessionError) {
	if len(body) < 2 {
		return nil, errProtocol(bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, nil, "a NOTIFICATION that is too short")
	}
	return &notification{code: body[0], subcode: body[1], data: body[2:]}, nil
}

func (n *notification) bytes() ([]byte, error) {
	return bgp.NewBGPNotificationMessage(n.code, n.subcode, n.data).Serialize()
}

func (n *notification) hasMessage() bool {
	return n.code == bgp.BGP_ERROR_CEASE &&
		(n.subcode == bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || n.subcode == bgp.BGP_ERROR_SUB_ADMINISTRATIVE_RESET)
}

// String says it in words, with the numbers: routers' manuals list those.
func (n *notification) String() string {
	s := fmt.Sprintf("%s (code %d, subcode %d)", n.words(), n.code, n.subcode)
	if m := n.message(); m != "" {
		s += fmt.Sprintf(": %q", m)
	}
	return s
}

// message is what people at the other end wanted us to know (RFC 9003), made safe to
// print: it may be anything.
func (n *notification) message() string {
	if !n.hasMessage() || len(n.data) == 0 {
		return ""
	}
	text := n.data[1:min(1+int(n.data[0]), len(n.data))]
	if !utf8.Valid(text) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(text))
}

func (n *notification) words() string {
	known := errorNames[n.code]
	if known.name == "" {
		return "unknown error"
	}
	if sub := known.subcodes[n.subcode]; sub != "" {
		return known.name + ": " + sub
	}
	return known.name
}

type errorName struct {
	name     string
	subcodes map[uint8]string
}

// errorNames are the registered codes and subcodes
// (https://www.iana.org/assignments/bgp-parameters).
var errorNames = map[uint8]errorName{
	1: {"message header error", map[uint8]string{1: "connection not synchronized", 2: "bad message length", 3: "bad message type"}},
	2: {"OPEN message error", map[uint8]string{
		1: "unsupported version", 2: "bad peer AS", 3: "bad BGP identifier", 4: "unsupported optional parameter",
		5: "authentication failure", 6: "unacceptable hold time", 7: "unsupported capability", 11: "role mismatch",
	}},
	3: {"UPDATE message error", map[uint8]string{
		1: "malformed attribute list", 2: "unrecognized well-known attribute", 3: "missing well-known attribute",
		4: "attribute flags error", 5: "attribute length error", 6: "invalid ORIGIN attribute", 7: "AS routing loop",
		8: "invalid NEXT_HOP attribute", 9: "optional attribute error", 10: "invalid network field", 11: "malformed AS_PATH",
	}},
	4: {"hold timer expired", nil},
	5: {"finite state machine error", map[uint8]string{
		1: "unexpected message in OpenSent", 2: "unexpected message in OpenConfirm", 3: "unexpected message in Established",
	}},
	6: {"cease", map[uint8]string{
		1: "maximum number of prefixes reached", 2: "administrative shutdown", 3: "peer de-configured", 4: "administrative reset",
		5: "connection rejected", 6: "other configuration change", 7: "connection collision resolution", 8: "out of resources",
		9: "hard reset", 10: "BFD down",
	}},
	7: {"ROUTE-REFRESH message error", map[uint8]string{1: "invalid message length"}},
	8: {"send hold timer expired", nil},
}
