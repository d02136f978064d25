package bfd

import (
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/lb"
)

// journal writes to the log what became of sessions, from a goroutine of its own: a log that is
// slow must not delay a packet.
type journal struct {
	logger  log.Logger
	entries chan entry
	writer  sync.WaitGroup
}

type entry struct {
	key           lb.BFDKey
	before, after lb.BFDState
}

// backlog is enough for every session of a big node to go down at once.
const backlog = 4096

func openJournal(logger log.Logger) *journal {
	j := &journal{logger: logger, entries: make(chan entry, backlog)}
	j.writer.Go(func() {
		for e := range j.entries {
			j.write(e)
		}
	})
	return j
}

// close ends the journal when all is written.
func (j *journal) close() {
	close(j.entries)
	j.writer.Wait()
}

// record never waits: what the log cannot take in time is lost.
func (j *journal) record(key lb.BFDKey, before *lb.BFDState, after lb.BFDState) {
	if before == nil {
		before = &lb.BFDState{Status: lb.BFDDown}
	}
	if before.Status == after.Status && before.Problem == after.Problem {
		return
	}
	select {
	case j.entries <- entry{key: key, before: *before, after: after}:
	default:
	}
}

func (j *journal) write(e entry) {
	logger := log.With(j.logger, "peer", e.key.Peer)
	if e.key.VRF != "" {
		logger = log.With(logger, "vrf", e.key.VRF)
	}
	if e.before.Problem != e.after.Problem && e.after.Problem != "" {
		level.Error(logger).Log("msg", "BFD session has a problem", "error", e.after.Problem)
	}
	switch {
	case e.before.Status == e.after.Status:
	case e.after.Status == lb.BFDUp:
		level.Info(logger).Log("msg", "BFD up", "transmitInterval", e.after.TransmitInterval, "detectionTime", e.after.DetectionTime)
	case e.before.Status == lb.BFDUp:
		level.Info(logger).Log("msg", "BFD down", "reason", e.after.Diagnostic, "remoteReason", e.after.RemoteDiagnostic)
	default:
		level.Debug(logger).Log("msg", "BFD state", "status", e.after.Status)
	}
}
