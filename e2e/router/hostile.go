package router

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
)

// WellBehaved holds the session and reads all that it is told.
func WellBehaved(o Open) Script {
	return func(c *Connection) {
		if c.Establish(o) == nil {
			c.Serve()
		}
	}
}

// Silent accepts connections and never says a word: a session that stays half open.
func Silent(c *Connection) { c.Drain() }

// HalfOpen answers the OPEN message, and never confirms.
func HalfOpen(o Open) Script {
	return func(c *Connection) {
		if _, err := c.Read(); err == nil && c.Send(o.encode()) == nil {
			c.Drain()
		}
	}
}

// Mute is established, and silent from then on: a router that hangs.
func Mute(o Open) Script {
	return func(c *Connection) {
		if c.Establish(o) == nil {
			c.Drain()
		}
	}
}

// Resetting ends each connection with a TCP reset at once.
func Resetting(c *Connection) { _ = c.Reset() }

// Notifying is established, and ends the session at once with a notification, each time.
func Notifying(o Open, n Notification) Script {
	return func(c *Connection) {
		if c.Establish(o) == nil && c.Notify(n) == nil {
			c.Drain()
		}
	}
}

// Refusing answers the OPEN message with a notification.
func Refusing(n Notification) Script {
	return func(c *Connection) {
		if _, err := c.Read(); err == nil && c.Notify(n) == nil {
			c.Drain()
		}
	}
}

// Babbling sends random bytes as soon as it is connected.
func Babbling(seed uint64) Script {
	return func(c *Connection) {
		if c.Send(noise(seed, 64<<10)) == nil {
			c.Drain()
		}
	}
}

// BabblingLater is established, and sends random bytes from then on.
func BabblingLater(o Open, seed uint64) Script {
	return func(c *Connection) {
		if c.Establish(o) == nil && c.Send(noise(seed, 64<<10)) == nil {
			c.Drain()
		}
	}
}

// Malforming is established, and sends messages that are whole, with bodies that make no sense: of another type on each
// connection. Then it ends it.
func Malforming(o Open, seed uint64) Script {
	var connections atomic.Uint64
	return func(c *Connection) {
		nth := connections.Add(1)
		random := rand.New(rand.NewPCG(seed, nth))
		if c.Establish(o) != nil {
			return
		}
		for range 100 {
			body := noise(random.Uint64(), random.IntN(4096-headerLength))
			if c.Send(encode(MessageType(nth%7), body)) != nil {
				return
			}
		}
	}
}

func noise(seed uint64, length int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, length)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

// Flooding is established, sends that many routes, and then holds the session.
func Flooding(o Open, routes int) Script {
	return func(c *Connection) {
		if c.Establish(o) != nil {
			return
		}
		for first := 0; first < routes; first += perUpdate {
			if c.Send(updateOf(o, first, min(perUpdate, routes-first))) != nil {
				return
			}
		}
		c.Serve()
	}
}

// perUpdate is how many prefixes of four bytes fit a message of 4096 (RFC 4271, section 4.1).
const perUpdate = 1000

// updateOf announces prefixes of 24 bits, from 1.0.0.0/24 on. The next hop is the router ID.
func updateOf(o Open, first, count int) []byte {
	path := binary.BigEndian.AppendUint32([]byte{2, 1}, o.ASN) // a sequence of one
	attributes := []byte{0x40, 1, 1, 0}                        // ORIGIN IGP
	attributes = append(append(attributes, 0x40, 2, byte(len(path))), path...)
	attributes = append(append(attributes, 0x40, 3, 4), o.RouterID.AsSlice()...)
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attributes)))
	body = append(body, attributes...)
	for n := first; n < first+count; n++ {
		prefix := n + 1<<16
		body = append(body, 24, byte(prefix>>16), byte(prefix>>8), byte(prefix))
	}
	return encode(UpdateMessage, body)
}
