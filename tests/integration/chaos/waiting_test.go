package chaos_test

import (
	"slices"
	"time"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// asleep is how long a client may wait beside a free slot by the log. One script
// gives a slot away as it comes free, so it is no time at all.
const asleep = 300 * time.Millisecond

// waiting: a freed slot goes to the client that waits longest, and nobody waits
// beside a free one (I4). What the pool makes good later, with a worker's next
// heartbeat or the next client that comes, shows here alone.
func (j *judge) waiting() {
	var pool event.State
	var since time.Time
	for i, e := range j.events {
		switch {
		case since.IsZero():
		case e.Type == event.PoolReset || e.Type == event.PoolResumed:
			since = time.Time{}
		case e.At.Sub(since) > asleep && e.Type != event.WorkerLost && e.Type != event.WorkerSuspect:
			j.reportf("I4: at %s a client has waited beside a free slot since %s", clock(e.At), clock(since))
			since = time.Time{}
		}
		if e.Type == event.SessionAssigned && e.Session.Browser == standInBrowser {
			seq, known := pool.Sessions[e.Session.ID]
			if first, ok := oldest(&pool); ok && first.ID != e.Session.ID && (!known || first.Seq < seq.Seq) {
				j.reportf("I4: at %s session %s got a slot while %s had waited since %s", clock(e.At), e.Session.ID, first.ID, clock(first.Since))
			}
		}
		pool.Apply(e)
		if _, waits := oldest(&pool); !waits || !free(&pool, j.events[i+1:]) {
			since = time.Time{}
		} else if since.IsZero() {
			since = e.At
		}
	}
}

// oldest is the session of a stand-in's client that waits longest.
func oldest(pool *event.State) (first event.SessionInfo, some bool) {
	for _, s := range pool.Sessions {
		if s.State == event.Queued && s.Browser == standInBrowser && (!some || s.Seq < first.Seq) {
			first, some = s, true
		}
	}
	return first, some
}

// free tells whether a stand-in has a slot that anybody may have. The one with a
// lifetime may have served it; one that is lost next may have let its lease run
// out long before, and nobody has reaped it.
func free(pool *event.State, next []event.Event) bool {
	loads := pool.Loads()
	for id, w := range pool.Workers {
		if w.State == event.Ready && w.Browser == standInBrowser && w.Lifetime == 0 && int64(loads[id]) < w.Slots && !lostNext(id, next) {
			return true
		}
	}
	return false
}

// lostNext tells whether the next that is told of a worker is that it is lost.
func lostNext(worker string, next []event.Event) bool {
	i := slices.IndexFunc(next, func(e event.Event) bool { return e.Worker != nil && e.Worker.ID == worker })
	return i >= 0 && next[i].Type == event.WorkerLost
}
