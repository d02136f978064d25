package bfd

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
)

// The two ends of a Process, joined by pipes.
func TestProcessIsAsGoodAsASpeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		left, right := n.join("192.0.2.1"), n.start(t, "192.0.2.2", 2)
		var told []lb.BFDState
		p := NewProcess(log.NewNopLogger(), nil, func(_ lb.BFDKey, state lb.BFDState) { told = append(told, state) })
		toChild, fromParent := io.Pipe()
		toParent, fromChild := io.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- serve(New(log.NewNopLogger(), Config{Transport: left}), toChild, fromChild)
			fromChild.Close()
		}()
		listened := make(chan error, 1)
		go func() { listened <- p.listen(toParent) }()
		go p.feed(t.Context(), fromParent)

		wanted := sessionWith(right.node, profileOf(100*ms, 3))
		key := wanted[0].Key()
		p.Set(wanted)
		right.Set(sessionWith(left, profileOf(100*ms, 3)))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := p.States()[key]; got.Status != lb.BFDUp || got.DetectionTime != 300*ms {
			t.Errorf("the session is %+v", got)
		}
		if got := p.Stats().Sessions[key]; !got.Up || got.UpEvents != 1 || got.ControlPacketsSent < 200 {
			t.Errorf("it counted %+v", got)
		}
		select {
		case <-p.Changed():
		default:
			t.Error("coming up signalled nothing")
		}

		right.Set(nil)
		time.Sleep(10 * ms)
		synctest.Wait()
		if len(told) != 2 || told[0].Status != lb.BFDUp || told[1].RemoteStatus != lb.BFDAdminDown {
			t.Errorf("told of %+v", told)
		}
		p.Set(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := p.States(); len(got) != 0 {
			t.Errorf("when nothing is wanted, there is %v", got)
		}

		fromParent.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		<-listened
	})
}

func TestLostProcessIsAProblem(t *testing.T) {
	told := 0
	p := NewProcess(log.NewNopLogger(), nil, func(lb.BFDKey, lb.BFDState) { told++ })
	key := lb.BFDKey{VRF: "red"}
	p.take(report{Sessions: []sessionReport{{Key: key, State: lb.BFDState{Status: lb.BFDUp}}}})
	p.lose(io.EOF)
	if got := p.States()[key]; got.Status != lb.BFDDown || got.Problem != "EOF" {
		t.Errorf("the session is %+v", got)
	}
	if told != 0 {
		t.Error("somebody was told that the path is broken")
	}
}
