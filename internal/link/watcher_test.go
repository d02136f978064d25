package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/go-kit/log"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listing answers with one error after the other, and then with the last; it counts how often it was asked. A list that
// was interrupted lacks a link.
func listing(asked *int, answers ...error) func() ([]netlink.Link, []netlink.Addr, error) {
	link := func(index int, name string) netlink.Link {
		return &netlink.Device{LinkAttrs: netlink.LinkAttrs{
			Index: index, Name: name, HardwareAddr: testMAC, RawFlags: usualFlags, OperState: netlink.OperUp, EncapType: "ether",
		}}
	}
	return func() ([]netlink.Link, []netlink.Addr, error) {
		err := answers[min(*asked, len(answers)-1)]
		*asked++
		if err != nil {
			return []netlink.Link{link(2, "eth0")}, nil, err
		}
		return []netlink.Link{link(2, "eth0"), link(3, "eth1")}, nil, nil
	}
}

func TestAListThatWasInterruptedIsAskedForAgain(t *testing.T) {
	changing := error(netlink.ErrDumpInterrupted)
	for name, c := range map[string]struct {
		answers []error
		asked   int
		links   int
		again   bool // a whole look is due
		err     error
	}{
		"a list that is whole":               {[]error{nil}, 1, 2, false, nil},
		"one that is interrupted":            {[]error{changing, nil}, 2, 2, false, nil},
		"several that are":                   {[]error{changing, changing, changing, changing, nil}, 5, 2, false, nil},
		"links that never come to rest":      {[]error{changing}, attempts, 1, true, nil},
		"an error is none the less an error": {[]error{unix.ENOBUFS}, 1, 0, false, unix.ENOBUFS},
		"an error after one is interrupted":  {[]error{changing, unix.ENOBUFS}, 2, 0, false, unix.ENOBUFS},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, asked := New(log.NewNopLogger(), nil), 0
				w.list = listing(&asked, c.answers...)
				if err := w.look(t.Context()); !errors.Is(err, c.err) {
					t.Errorf("got error %v, want %v", err, c.err)
				}
				if asked != c.asked || len(w.Links()) != c.links || len(w.touched) == 1 != c.again {
					t.Errorf("asked %d times, got %d links, another look due: %t; want %+v", asked, len(w.Links()), len(w.touched) == 1, c)
				}
			})
		})
	}
}

func TestAskingAgainEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w, asked := New(log.NewNopLogger(), nil), 0
	w.list = listing(&asked, netlink.ErrDumpInterrupted)
	if err := w.look(ctx); !errors.Is(err, context.Canceled) || w.Ready() {
		t.Errorf("got %v, and a snapshot: %t", err, w.Ready())
	}
}
