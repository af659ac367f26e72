package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// CheckSettled waits until no session is on its way, no longer than the pool
// promises, and then checks that nothing of them is left: no slot is taken, nobody
// waits (I3, I4), state and log agree (I6), and the log is consistent (see
// CheckLog). It is for a pool that nobody uses any more.
func (p *Pool) CheckSettled(tb testing.TB) {
	tb.Helper()
	var s Snapshot
	if !holds(p.settles, func() bool { s = p.Snapshot(tb); return s.settled() }) {
		tb.Errorf("after %s without clients there is still something of their sessions: sessions %v, held %v, waiting %v, leases %v, owned %v",
			p.settles, s.Sessions, s.Held, s.Waiting, s.Leases, s.Owned)
	}
	for _, d := range s.FoldDifferences() {
		tb.Errorf("I6: %s", d)
	}
	for _, problem := range CheckLog(s.Events) {
		tb.Error(problem)
	}
}

func (s Snapshot) settled() bool {
	return len(s.Sessions) == 0 && len(s.Held) == 0 && len(s.Waiting) == 0 && len(s.Leases) == 0 && len(s.Owned) == 0
}

// CheckNow checks, at any moment, that state and log agree (I6).
func (p *Pool) CheckNow(tb testing.TB) {
	tb.Helper()
	for _, d := range p.Snapshot(tb).FoldDifferences() {
		tb.Errorf("I6: %s", d)
	}
}

// CheckLog goes through the log of a pool in which no session is open and
// lists what contradicts the invariants: a worker with more sessions than slots
// (I1), a session that was assigned and has not exactly one end (I2), a fact
// that is told twice, a step without the one before it.
func CheckLog(events []event.Event) []string {
	c := logCheck{
		ids: map[string]bool{}, phase: map[string]event.Type{}, slots: map[string]int64{},
		joined: map[string]int{}, queued: map[string]int{},
	}
	for _, e := range events {
		c.add(e)
	}
	for id, last := range c.phase {
		if last != event.SessionEnded && last != event.SessionRejected {
			c.reportf("I2: session %s: %s is the last of it", id, last)
		}
	}
	return c.problems
}

type logCheck struct {
	problems []string
	fold     event.State
	ids      map[string]bool
	phase    map[string]event.Type // session → its last event
	slots    map[string]int64      // also of workers that have gone
	joined   map[string]int        // worker → its place in the log
	queued   map[string]int        // session → where it was queued last
}

func (c *logCheck) reportf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// before lists which events of a session may precede one; an empty type stands
// for none. A start can be the first after Redis came back empty.
var before = map[event.Type][]event.Type{
	event.SessionQueued:   {"", event.SessionAssigned},
	event.SessionAssigned: {"", event.SessionQueued, event.SessionAssigned},
	event.SessionStarted:  {"", event.SessionAssigned},
	event.SessionEnded:    {event.SessionQueued, event.SessionAssigned, event.SessionStarted},
	event.SessionRejected: {"", event.SessionQueued},
}

func (c *logCheck) add(e event.Event) {
	if c.ids[e.ID] {
		c.reportf("event %s stands in the log twice", e.ID)
	}
	c.ids[e.ID] = true
	c.fold.Apply(e)
	if e.Type == event.WorkerJoined {
		c.slots[e.Worker.ID], c.joined[e.Worker.ID] = e.Worker.Slots, len(c.ids)
	}
	if e.Session == nil {
		return
	}
	id := e.Session.ID
	if e.Type == event.SessionQueued {
		c.queued[id] = len(c.ids)
	}
	if last := c.phase[id]; !slices.Contains(before[e.Type], last) && !c.broughtBack(e, last) {
		if last == event.SessionEnded && e.Type == event.SessionEnded {
			c.reportf("I2: session %s ended twice", id)
		} else {
			c.reportf("session %s: %s after %q", id, e.Type, last)
		}
	}
	c.phase[id] = e.Type
	if e.Type == event.SessionAssigned || e.Type == event.SessionStarted {
		w := e.Session.Worker
		if load := int64(len(c.fold.Held(w))); load > c.slots[w] {
			c.reportf("I1: worker %s has %d sessions and %d slots", w, load, c.slots[w])
		}
	}
}

// broughtBack tells whether a session that waits has started with its worker's
// joining: when Redis came back empty, a proxy may queue a client again whose
// worker has begun to serve it, before that worker has said so.
func (c *logCheck) broughtBack(e event.Event, last event.Type) bool {
	return e.Type == event.SessionStarted && last == event.SessionQueued && c.joined[e.Session.Worker] > c.queued[e.Session.ID]
}

// CheckPlacement goes through the log of a pool whose workers stay ready and
// have no lifetime, and lists assignments to a worker that was not a
// least-loaded one with a free slot (I5), and those that overtook an older
// ticket of the same class (I4).
func CheckPlacement(events []event.Event) []string {
	var problems []string
	var fold event.State
	for _, e := range events {
		if e.Type == event.SessionAssigned {
			loads := fold.Loads()
			for id, w := range fold.Workers {
				if w.State == event.Ready && int64(loads[id]) < w.Slots && loads[id] < loads[e.Session.Worker] {
					problems = append(problems, fmt.Sprintf("I5: session %s went to worker %s with load %d, while %s had %d",
						e.Session.ID, e.Session.Worker, loads[e.Session.Worker], id, loads[id]))
				}
			}
			if waiting := fold.Waiting(); len(waiting) > 0 && waiting[0] != e.Session.ID {
				problems = append(problems, fmt.Sprintf("I4: session %s got a slot while %s waited first", e.Session.ID, strings.Join(waiting, " ")))
			}
		}
		fold.Apply(e)
	}
	return problems
}
