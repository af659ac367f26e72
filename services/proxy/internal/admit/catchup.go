package admit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cancelsAtOnce is how many cancels are under way together. One after the other, those
	// of an outage would take longer than the slots may stay theirs.
	cancelsAtOnce = 64
	// cancelsKept bounds what is remembered of an outage. A session that is never
	// cancelled ends when it is not started.
	cancelsKept = 50_000
)

type cancelled struct{ session, reason string }

// behind is what could not be done when it was due. It is done beside the heartbeats,
// which must not wait for it: there may be thousands of clients, and each call may take long.
type behind struct {
	sync.WaitGroup

	// Under the admitter's lock:
	cancels []cancelled // that could not be said yet
	requeue bool        // the waiting clients have to be brought back
	busy    bool
}

// catchUp begins to do what is left to do, unless that is under way.
func (a *Admitter) catchUp(ctx context.Context, requeue bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := &a.behind
	b.requeue = b.requeue || requeue
	if b.busy || !b.requeue && len(b.cancels) == 0 {
		return
	}
	b.busy = true
	b.Go(func() {
		a.flush(ctx)
		for a.owes() {
			if !a.requeue(ctx) {
				a.owe() // with the next heartbeat that is answered
				return
			}
		}
	})
}

// owes takes the task of bringing the waiting clients back, if there is one, and else
// notes that nobody is busy any more.
func (a *Admitter) owes() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	owes := a.behind.requeue
	a.behind.requeue, a.behind.busy = false, owes
	return owes
}

func (a *Admitter) owe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.behind.requeue, a.behind.busy = true, false
}

// cancel gives a session back. Where that fails it is kept for later.
func (a *Admitter) cancel(session, reason string, limit time.Duration) error {
	ctx, done := context.WithTimeout(context.Background(), limit)
	defer done()
	_, err := a.store.Cancel(ctx, session, a.o.Proxy, reason)
	if err != nil {
		a.o.RedisError()
		a.later(cancelled{session, reason})
	}
	return err
}

// later keeps cancels for when Redis answers again.
func (a *Admitter) later(more ...cancelled) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := &a.behind
	b.cancels = append(b.cancels, more...)
	if surplus := len(b.cancels) - cancelsKept; surplus > 0 {
		b.cancels = slices.Delete(b.cancels, 0, surplus)
	}
}

// flush says what could not be said while Redis was away.
func (a *Admitter) flush(ctx context.Context) {
	a.mu.Lock()
	cancels := a.behind.cancels
	a.behind.cancels = nil
	a.mu.Unlock()
	for len(cancels) > 0 && ctx.Err() == nil {
		some := cancels[:min(cancelsAtOnce, len(cancels))]
		cancels = cancels[len(some):]
		if !a.cancelAll(some) {
			break // cancel has kept them, and further ones would only wait as long
		}
	}
	a.later(cancels...)
}

// cancelAll gives sessions back, and tells whether all calls were answered.
func (a *Admitter) cancelAll(cancels []cancelled) bool {
	var failed atomic.Bool
	var calls sync.WaitGroup
	for _, c := range cancels {
		calls.Go(func() {
			if a.cancel(c.session, c.reason, callTimeout) != nil {
				failed.Store(true)
			}
		})
	}
	calls.Wait()
	return !failed.Load()
}

// Flush reports everything that is left, at the end of the process.
func (a *Admitter) Flush(ctx context.Context) error {
	a.flush(ctx)
	return a.report(ctx, a.takeEnds(0))
}

// requeue asks again for everybody who waits, the oldest first, and tells
// whether it came to the last one.
func (a *Admitter) requeue(ctx context.Context) bool {
	a.mu.Lock()
	all := make([]*Ticket, 0, len(a.tickets))
	for _, t := range a.tickets {
		all = append(all, t)
	}
	a.mu.Unlock()
	slices.SortFunc(all, func(x, y *Ticket) int {
		if x.order < y.order {
			return -1
		}
		return 1
	})
	for _, t := range all {
		if ctx.Err() != nil {
			return false
		}
		if t.closed.Load() || !t.asked.Load() {
			continue // its own first call is still on the way, and will find the new data set
		}
		c, done := context.WithTimeout(ctx, callTimeout)
		r := t.request
		r.Again = true
		st, err := a.store.Acquire(c, r)
		done()
		if err != nil {
			a.o.RedisError()
			return false
		}
		t.tell(st)
		if t.closed.Load() && !t.started.Load() {
			// It left meanwhile, perhaps before this call made it known again.
			_ = a.cancel(r.Session, "cancelled", callTimeout) // or later
		}
	}
	return true
}
