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

// errASNRefused is what it means that the router does not want our ASN. It does not say
// which one it wants; its own is 0 where nobody knows it.
func errASNRefused(ours, theirs uint32, n *notification) *sessionError {
	text := "the router expects another ASN than ours, which is " + decimal(ours)
	if theirs != 0 {
		text += "; its own is " + decimal(theirs)
	}
	return &sessionError{reason: lb.WrongASN, text: text + ": " + n.String()}
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
	return &sessionError{reason: lb.ConnectionLost, text: fmt.Sprintf("%s: %v", doing, withoutPorts(err))}
}

// withoutPorts is the error without the addresses that package net adds: our port is another
// one each time, and what is the same error as before would read like news.
func withoutPorts(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// unreachable says why no connection came about. The router is near if one of our
// networks holds its address.
func unreachable(err error, p lb.Peer, near bool) *sessionError {
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
	if hopless(p) && !near && (timedOut(err) || errors.Is(err, syscall.EHOSTUNREACH)) {
		e.text += "; the router is on none of this node's networks, and packets to external routers go no further than one hop without ebgpMultiHop"
	}
	return e
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
