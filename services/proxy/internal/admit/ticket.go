package admit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/fleet"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Ticket is one client on its way to a worker.
type Ticket struct {
	a       *Admitter
	request state.Request
	order   uint64
	news    chan state.Standing
	asked   atomic.Bool // the pool knows it
	closed  atomic.Bool
	started atomic.Bool // closed because its session runs

	began    time.Time
	wait     time.Duration
	deadline *time.Timer

	// The grant that was used last; an older one in the inbox means nothing.
	epoch   string
	attempt int
	place   int
	waiting int
}

// Open makes a ticket. Every ticket is closed by Started or by Close.
func (a *Admitter) Open(r state.Request, wait time.Duration) *Ticket {
	r.Proxy, r.QueueLimit = a.o.Proxy, a.o.QueueLimit
	t := &Ticket{a: a, request: r, news: make(chan state.Standing, 2), began: time.Now(), wait: wait, deadline: time.NewTimer(wait)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.order++
	t.order = a.order
	a.tickets[r.Session] = t
	return t
}

// tell passes news on without waiting. Where there are too many, the oldest go:
// each is the pool's word at its time, and the last one counts.
func (t *Ticket) tell(st state.Standing) {
	for {
		select {
		case t.news <- st:
			return
		default:
		}
		select {
		case <-t.news:
		default:
		}
	}
}

// Acquire gets a grant, after waiting for it where need be. The error is a
// refusal, or the context's when the client left.
func (t *Ticket) Acquire(ctx context.Context) (state.Grant, error) {
	g, err := t.acquire(ctx)
	return g, t.withWait(err)
}

func (t *Ticket) acquire(ctx context.Context) (state.Grant, error) {
	request := t.request
	for {
		st, err := t.call(ctx, func(c context.Context) (state.Standing, error) {
			return t.a.store.Acquire(c, request)
		})
		if err != nil {
			return state.Grant{}, err
		}
		t.asked.Store(true) // from here on it is brought back after a reset
		if t.a.current(st.Epoch) {
			return t.await(ctx, st)
		}
		// Redis was emptied behind this reply, and the others were brought back
		// before it came.
		request.Again = true
	}
}

// Reassign gives back a grant whose worker could not be dialled and gets
// another one.
func (t *Ticket) Reassign(ctx context.Context, g state.Grant) (state.Grant, error) {
	g, err := t.reassign(ctx, g)
	return g, t.withWait(err)
}

func (t *Ticket) reassign(ctx context.Context, g state.Grant) (state.Grant, error) {
	st, err := t.call(ctx, func(c context.Context) (state.Standing, error) {
		return t.a.store.Reassign(c, g.Session, g.Worker, g.Attempt)
	})
	if err != nil {
		return state.Grant{}, err
	}
	t.believe(st)
	return t.await(ctx, st)
}

// believe takes the answer to a call that gave the last grant back, or found none.
// Where a failover lost the last of the data, attempts are counted anew: a grant in
// the answer, or the next one, may be called as the last one was.
func (t *Ticket) believe(st state.Standing) {
	switch st.Phase {
	case state.Assigned:
		t.epoch = ""
	case state.Queued:
		t.attempt = min(t.attempt, st.Placed)
	}
}

// Blame gives back a grant whose worker could not be dialled, for a client that
// gets no other one: the worker must not stay the least loaded.
func (t *Ticket) Blame(ctx context.Context, g state.Grant) {
	c, done := context.WithTimeout(ctx, callTimeout)
	defer done()
	if _, err := t.a.store.Reassign(c, g.Session, g.Worker, g.Attempt); err != nil {
		t.a.o.RedisError()
	}
}

// await turns the pool's word into a grant or a refusal, waiting while it is
// "queued".
func (t *Ticket) await(ctx context.Context, st state.Standing) (state.Grant, error) {
	for {
		switch st.Phase {
		case state.Assigned:
			if st.Epoch != t.epoch || st.Grant.Attempt > t.attempt {
				t.epoch, t.attempt = st.Epoch, st.Grant.Attempt
				return st.Grant, nil
			}
		case state.Queued:
			t.place, t.waiting = st.Place, st.Waiting
		case state.Unknown:
			// Redis lost it since.
			again := t.request
			again.Again = true
			var err error
			st, err = t.call(ctx, func(c context.Context) (state.Standing, error) { return t.a.store.Acquire(c, again) })
			if err != nil {
				return state.Grant{}, err
			}
			t.believe(st)
			continue
		default:
			return state.Grant{}, t.refused(st)
		}
		select {
		case st = <-t.news:
		case <-ctx.Done():
			return state.Grant{}, ctx.Err()
		case <-t.a.draining:
			return state.Grant{}, refusal.New(refusal.Draining, "")
		case <-t.deadline.C:
			select {
			case st = <-t.news:
				t.deadline.Reset(0) // for what is not a grant
			default:
				return state.Grant{}, t.timedOut()
			}
		}
	}
}

// timedOut takes a client out of the queue whose time is over, and says so. A
// grant that is on its way is given back with that.
func (t *Ticket) timedOut() error {
	no := refusal.New(refusal.WaitTimeout, "%s", t.a.o.Absent(t.request.Demand))
	if err := t.giveBack(Reason(no), cancelTime); err != nil && t.a.trouble(err) {
		return unavailable(err)
	}
	return no
}

func (t *Ticket) refused(st state.Standing) error {
	switch st.Phase {
	case state.Refused:
		if st.Reason == "no_match" {
			return fleet.Unfit(t.request.Demand, st.Have)
		}
		return refusal.New(refusal.TooManyClasses, "")
	case state.Active:
		// A connection that this proxy does not have started it.
		return refusal.New(refusal.Lost, "")
	}
	switch st.Reason {
	case "queue_full":
		return refusal.New(refusal.QueueFull, "%d clients wait already.", t.request.QueueLimit)
	case "token_limit":
		return refusal.New(refusal.TokenLimit, "Token %s may have %d, waiting ones included.", t.request.Token, t.request.TokenSessions)
	case "token_queue":
		return refusal.New(refusal.TokenQueue, "Of token %s %d may wait.", t.request.Token, t.request.TokenQueue)
	case "lease_expired":
		return refusal.New(refusal.LeaseExpired, "")
	default:
		return refusal.New(refusal.Lost, "")
	}
}

// call runs one call to the pool, again when Redis is back, until the ticket's
// time is over.
func (t *Ticket) call(ctx context.Context, f func(context.Context) (state.Standing, error)) (state.Standing, error) {
	for {
		select {
		case <-t.a.draining:
			return state.Standing{}, refusal.New(refusal.Draining, "")
		default:
		}
		c, done := context.WithTimeout(ctx, callTimeout)
		st, err := f(c)
		done()
		switch {
		case err == nil:
			return st, nil
		case errors.Is(err, state.ErrSchema):
			return st, refusal.New(refusal.OtherRelease, "")
		case ctx.Err() != nil:
			return st, ctx.Err()
		}
		t.a.o.RedisError()
		if err := t.redisBack(ctx, err); err != nil {
			return st, err
		}
	}
}

// redisBack waits for Redis to answer again after a call that failed; an error
// that changed nobody's mind about its health is tried again after a moment.
func (t *Ticket) redisBack(ctx context.Context, failed error) error {
	pause := time.NewTimer(200 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-t.a.health():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.a.draining:
		return refusal.New(refusal.Draining, "")
	case <-t.deadline.C:
		return unavailable(failed)
	}
}

// unavailable is the refusal for a Redis that cannot be used, with what is to be
// done about it where Redis itself has said that.
func unavailable(failed error) refusal.Refusal {
	why, refused := redisx.WriteRefusal(failed)
	if !refused {
		return refusal.New(refusal.RedisUnavailable, "")
	}
	return refusal.New(refusal.RedisUnavailable, "Redis refuses writes: %s.", why)
}

// Started closes the ticket of a session that runs.
func (t *Ticket) Started() {
	t.started.Store(true)
	t.forget()
}

// Close gives back whatever the ticket has. It is safe after Started.
func (t *Ticket) Close(reason string) { _ = t.giveBack(reason, callTimeout) } // or later

// giveBack closes the ticket. An error says that Redis does not know that yet.
func (t *Ticket) giveBack(reason string, limit time.Duration) error {
	if !t.forget() {
		return nil
	}
	return t.a.cancel(t.request.Session, reason, limit)
}

func (t *Ticket) forget() bool {
	if t.closed.Swap(true) {
		return false
	}
	t.deadline.Stop()
	t.a.mu.Lock()
	defer t.a.mu.Unlock()
	delete(t.a.tickets, t.request.Session)
	return true
}

// Reason translates why a ticket failed into the reason of its event. Every code
// is named, so that none is put down to the client by accident.
func Reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	switch refusal.From(err).Code {
	case refusal.WaitTimeout, refusal.RedisUnavailable:
		return "wait_timeout"
	case refusal.Draining:
		return "proxy_drained"
	case refusal.DialFailed, refusal.OutOfDescriptors,
		refusal.NoAssignment, refusal.WorkerFull, refusal.BrowserDown:
		return "dial_failed"
	case refusal.NoVersion, refusal.ServerRefused, refusal.UpgradeRequired:
		// Of a session in the pool it is the Playwright server that says so, or the gate:
		// a client that fits no worker by what the pool knows, or asks for no upgrade, does
		// not come into it.
		return "worker_closed"
	case refusal.LeaseExpired:
		return "lease_expired"
	case refusal.QueueFull, refusal.TooManyClasses:
		return "queue_full"
	case refusal.TokenLimit:
		return "token_limit"
	case refusal.TokenQueue:
		return "token_queue"
	case refusal.BadRequest, refusal.RequestTooLong, refusal.RequestTimeout, refusal.UnknownBrowser, refusal.BadQuery, refusal.CDPClient, refusal.ExposeNetwork, refusal.Unauthorized, refusal.AuthFailures, refusal.ForeignOrigin,
		refusal.NotFound, refusal.Pending, refusal.NoLabels, refusal.NoIsolation:
		return "policy"
	case refusal.Lost, refusal.OtherRelease, refusal.Internal:
		return "proxy_lost" // for this session it is
	}
	return "proxy_lost"
}
