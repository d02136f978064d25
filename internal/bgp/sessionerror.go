package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// sessionError is why a session ended, or did not come up.
type sessionError struct {
	reason lb.Reason
	// text says it to a person.
	text string
	// notify, unless nil, is what the router is told before the connection closes.
	notify *notification
}

func (e *sessionError) Error() string { return e.text }

// Why Herald itself ends sessions. The texts are sent to the router where RFC 9003 has
// room for them.
var (
	errStopped = &sessionError{
		reason: lb.Connecting, text: "the speaker on this node stops",
		notify: cease(bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, "the speaker on this node stops"),
	}
	errRemoved = &sessionError{
		reason: lb.Connecting, text: "the peer was removed from the configuration",
		notify: cease(bgp.BGP_ERROR_SUB_PEER_DECONFIGURED, ""),
	}
	errReconfigured = &sessionError{
		reason: lb.Connecting, text: "the configuration of the peer changed",
		notify: cease(bgp.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, ""),
	}
)

// errPathDown is what ends the session when BFD says that the path is gone (RFC 9384).
func errPathDown(why string) *sessionError {
	const bfdDown = 10 // IANA, BGP Cease NOTIFICATION message subcodes
	return &sessionError{reason: lb.BFDIsDown, text: "BFD: " + why, notify: cease(bfdDown, "")}
}

// errProtocol is for what the router sent and BGP does not allow.
func errProtocol(code, subcode uint8, data []byte, format string, a ...any) *sessionError {
	return &sessionError{
		reason: lb.ProtocolError, text: "the router sent " + fmt.Sprintf(format, a...),
		notify: &notification{code: code, subcode: subcode, data: data},
	}
}

// lost says why an open connection is of no use any more.
func lost(doing string, err error) *sessionError {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &sessionError{reason: lb.ConnectionLost, text: doing + ": the router closed the connection"}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &sessionError{reason: lb.ConnectionLost, text: doing + ": the router reset the connection"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &sessionError{reason: lb.NoRoute, text: doing + ": no route to the router any more"}
	}
	return &sessionError{reason: lb.ConnectionLost, text: fmt.Sprintf("%s: %v", doing, err)}
}

// unreachable says why no connection came about.
func unreachable(err error, p lb.Peer) *sessionError {
	e := &sessionError{reason: lb.NoRoute, text: err.Error()}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		e.reason = lb.ConnectionRefused
	case errors.Is(err, syscall.ECONNRESET):
		e.reason = lb.ConnectionLost
	case errors.Is(err, syscall.EADDRNOTAVAIL) && p.SourceAddress.IsValid():
		e.reason = lb.SourceAddressMissing
	case timedOut(err) && p.Password != "":
		e.reason = lb.PasswordSuspected
		e.text += "; the router drops without a word what is signed with another password, or not with any"
	case timedOut(err):
		e.reason = lb.NoAnswer
		e.text += "; so does a router behave that wants a password"
	}
	if hopless(p) && (timedOut(err) || errors.Is(err, syscall.EHOSTUNREACH)) {
		e.text += "; packets to external routers go no further than one hop without ebgpMultiHop"
	}
	return e
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
