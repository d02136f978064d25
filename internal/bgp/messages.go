package bgp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	headerLength = 19
	// maximumLength is the longest message without RFC 8654, which we do not offer: what
	// we send is short, and what we do not take in may stay so.
	maximumLength = 4096
)

// message is one message of the router's.
type message struct {
	kind uint8
	// body is valid until the next message is read; an UPDATE's is thrown away.
	body []byte
}

// messageReader cuts what the router sends into messages.
type messageReader struct {
	from   *bufio.Reader
	buffer [maximumLength]byte
}

func newMessageReader(r io.Reader) *messageReader {
	return &messageReader{from: bufio.NewReaderSize(r, 16<<10)}
}

// next reads one message. Its error is a *sessionError if the bytes are not BGP, else
// that of the connection.
//
// The routes of an UPDATE go unread: we accept none, so nothing in there can be wrong for
// us (RFC 7606 would have routes that cannot be understood treated as withdrawn), and a
// router that sends a million of them costs us the copying alone.
func (r *messageReader) next() (message, error) {
	header := r.buffer[:headerLength]
	if _, err := io.ReadFull(r.from, header); err != nil {
		return message{}, err
	}
	m := message{kind: header[18]}
	length := int(binary.BigEndian.Uint16(header[16:18]))
	if err := checkHeader(header, length); err != nil {
		return m, err
	}
	rest := length - headerLength
	if m.kind == bgp.BGP_MSG_UPDATE {
		_, err := r.from.Discard(rest)
		return m, err
	}
	m.body = r.buffer[headerLength:length]
	_, err := io.ReadFull(r.from, m.body)
	return m, err
}

// checkHeader follows RFC 4271, section 6.1.
func checkHeader(header []byte, length int) error {
	for _, b := range header[:16] {
		if b != 0xff {
			return errProtocol(bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, nil, "what is not BGP")
		}
	}
	limits, ok := lengths[header[18]]
	if !ok {
		return errProtocol(bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, header[18:19],
			"a message of unknown type %d", header[18])
	}
	if length < limits.least || length > limits.most {
		return errProtocol(bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, clone(header[16:18]),
			"a message of type %d and %d bytes", header[18], length)
	}
	return nil
}

// lengths are what messages of each type may have, header included.
var lengths = map[uint8]struct{ least, most int }{
	bgp.BGP_MSG_OPEN:          {29, maximumLength},
	bgp.BGP_MSG_UPDATE:        {23, maximumLength},
	bgp.BGP_MSG_NOTIFICATION:  {21, maximumLength},
	bgp.BGP_MSG_KEEPALIVE:     {headerLength, headerLength},
	bgp.BGP_MSG_ROUTE_REFRESH: {23, maximumLength}, // longer ones carry filters (RFC 5291), which we do not offer
}

// clone keeps bytes beyond the next message.
func clone(b []byte) []byte { return append([]byte(nil), b...) }

// parseOpen reads the body of an OPEN with GoBGP's decoder. A panic in there, which no
// router may cause in us, is an error like others.
func parseOpen(body []byte) (open *bgp.BGPOpen, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errProtocol(bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, nil, "an OPEN that cannot be read: %v", r)
		}
	}()
	open = &bgp.BGPOpen{}
	if err := open.DecodeFromBytes(body); err != nil {
		return nil, errProtocol(bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, nil, "an OPEN that cannot be read: %v", err)
	}
	return open, nil
}

// parseRefresh reads which family the router asks for again (RFC 2918, section 3).
func parseRefresh(body []byte) bgp.Family {
	return bgp.NewFamily(binary.BigEndian.Uint16(body[:2]), body[3])
}

// kindName is for people.
func kindName(kind uint8) string {
	names := map[uint8]string{
		bgp.BGP_MSG_OPEN: "OPEN", bgp.BGP_MSG_UPDATE: "UPDATE", bgp.BGP_MSG_NOTIFICATION: "NOTIFICATION",
		bgp.BGP_MSG_KEEPALIVE: "KEEPALIVE", bgp.BGP_MSG_ROUTE_REFRESH: "ROUTE-REFRESH",
	}
	if name := names[kind]; name != "" {
		return name
	}
	return fmt.Sprintf("message of type %d", kind)
}
