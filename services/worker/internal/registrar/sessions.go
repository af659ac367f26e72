package registrar

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// live is a session that has started or is about to.
type live struct {
	state.Serving
	since    time.Time
	number   int64 // that its start carries
	starting bool
	over     bool // the pool has ended it already
	end      func(gate.Ending)
}

// ended is an end that the pool has not been told of.
type ended struct {
	state.End
	at time.Time
	of *live
}

// Check implements gate.Pool.
func (r *Registrar) Check(ctx context.Context, session string, attempt int) (bool, error) {
	ok, err := r.store.Check(ctx, session, r.o.Worker.ID, attempt)
	if err != nil {
		r.o.Failed()
	}
	return ok, err
}

// Claim implements gate.Pool.
func (r *Registrar) Claim(ctx context.Context, s state.Serving, end func(gate.Ending)) (state.StartAnswer, error) {
	l := &live{Serving: s, since: time.Now(), starting: true, end: end}
	r.mu.Lock()
	if r.force || r.left {
		r.mu.Unlock()
		return state.StartElsewhere, nil
	}
	// The next heartbeat must not miss it when the start overtakes that; the
	// one after it waits for the answer.
	l.number = r.number + 1
	r.live[s.Nonce] = l
	r.mu.Unlock()

	ctx, done := context.WithTimeout(ctx, callTime)
	defer done()
	answer, err := r.store.Start(ctx, s.Session, r.o.Worker.ID, s.Attempt, s.Nonce, l.number)

	r.mu.Lock()
	defer r.mu.Unlock()
	l.starting = false
	r.settled.Broadcast()
	defer r.poke() // this may have been the last one, in either sense
	if err != nil {
		// It may have started all the same. The heartbeat after the next ends it
		// then, as it is not in the list.
		r.started++
		delete(r.live, s.Nonce)
		r.o.Failed()
		return answer, err
	}
	if answer != state.StartOK {
		delete(r.live, s.Nonce)
		return answer, nil
	}
	r.started++
	l.since = time.Now()
	if r.force {
		end(drained)
	}
	return answer, nil
}

// Ended implements gate.Pool.
func (r *Registrar) Ended(e state.End) {
	at := time.Now().Add(-e.Ago)
	r.note(func() {
		for nonce, l := range r.live {
			if l.Session != e.Session || l.starting {
				continue
			}
			delete(r.live, nonce)
			if !l.over {
				r.outbox = append(r.outbox, ended{End: e, at: at, of: l})
			}
		}
	})
}

// Live is the number of sessions that have started here and go on.
func (r *Registrar) Live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.live {
		if !l.starting {
			n++
		}
	}
	return n
}

// Oldest tells since when the oldest session has been here, how long that is by
// a clock that nobody sets, and whether there is any, those included that are
// about to start.
func (r *Registrar) Oldest() (since time.Time, age time.Duration, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.live {
		if !some || l.since.Before(since) {
			since, some = l.since, true
		}
	}
	return since, time.Since(since), some
}

// serving returns the sessions to join with. The lock is held.
func (r *Registrar) serving() []state.Serving {
	var list []state.Serving
	for _, l := range r.live {
		if !l.starting && !l.over {
			list = append(list, l.aged())
		}
	}
	return list
}

// untold returns the sessions of the outbox, for a pool that may not know that
// they started. The lock is held.
func (r *Registrar) untold() []state.Untold {
	list := make([]state.Untold, len(r.outbox))
	for i, end := range pending(r.outbox) {
		list[i] = state.Untold{Serving: r.outbox[i].of.aged(), How: end}
	}
	return list
}

// aged is what the pool is told of a session, as of now.
func (l *live) aged() state.Serving {
	s := l.Serving
	s.Age = time.Since(l.since)
	return s
}

// pending returns the ends to report with their ages as of now.
func pending(list []ended) []state.End {
	ends := make([]state.End, len(list))
	for i, e := range list {
		ends[i] = e.End
		ends[i].Ago = max(0, time.Since(e.at))
	}
	return ends
}

// reported drops what has been told; more may have come since.
func (r *Registrar) reported(n int) { r.outbox = slices.Delete(r.outbox, 0, n) }

// nextNumber waits until no start is on its way that this number would end,
// and takes the number. The lock is held.
func (r *Registrar) nextNumber() int64 {
	for r.startingBelow(r.number + 1) {
		r.settled.Wait()
	}
	r.number++
	return r.number
}

func (r *Registrar) startingBelow(number int64) bool {
	for _, l := range r.live {
		if l.starting && l.number < number {
			return true
		}
	}
	return false
}

// closeAll ends sessions that the pool has ended. The lock is held.
func (r *Registrar) closeAll(sessions []string) {
	for _, l := range r.live {
		if slices.Contains(sessions, l.Session) {
			r.close(l)
		}
	}
}

// close ends a session that is over for the pool. The lock is held.
func (r *Registrar) close(l *live) {
	if l.starting || l.over {
		return
	}
	l.over = true
	r.o.Log.Info("closing a session that the pool has ended", zap.String("session", l.Session))
	l.end(gate.Ending{Reason: reasonKilled, Text: "the pool has ended this session"})
}
