// Package admit gets a slot for a client: it asks the pool for one, waits in
// the pool's queue where there is none, and gives back what it got when the
// client does not need it any more. What it promises it keeps through lost
// replies and through a Redis that goes away, because every request is named
// by its session and may be repeated.
package admit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Store is the part of *state.Store that admission uses.
type Store interface {
	Acquire(ctx context.Context, r state.Request) (state.Standing, error)
	Reassign(ctx context.Context, session, worker string, attempt int) (state.Standing, error)
	Cancel(ctx context.Context, session, proxy, reason string) (state.Phase, error)
	Finish(ctx context.Context, by state.Side, who string, ends ...state.End) error
	ProxyHeartbeat(ctx context.Context, proxy, heeded string, ends ...state.End) (state.ProxyReply, error)
	Reap(ctx context.Context, batch int) (ended int, until time.Duration, err error)
}

// Options of an Admitter.
type Options struct {
	Proxy      string // id of this process, new at every boot
	QueueLimit int    // waiting clients of the whole pool
	Heartbeat  time.Duration
	Log        *zap.Logger
	// RedisError counts failed calls; it may be nil.
	RedisError func()
	// Standing is told, with every heartbeat that Redis answers, whether it was
	// taken, and if not, why; it may be nil.
	Standing func(ok bool, why string)
}

const (
	// callTimeout bounds one call, so that a frozen Redis is noticed.
	callTimeout = 3 * time.Second
	// cancelTime is for how long a client is kept waiting for its no, so that it
	// is out of the queue when it hears it.
	cancelTime = 500 * time.Millisecond
)

// Admitter keeps the tickets of one proxy.
type Admitter struct {
	store Store
	o     Options

	mu       sync.Mutex
	tickets  map[string]*Ticket
	order    uint64
	epoch    string
	heeded   string      // the last heartbeat's reply after which all was done that it asked for
	cancels  []cancelled // that could not be said yet
	ends     []end       // seen by this proxy, for its next heartbeat
	draining chan struct{}
	drained  bool
	healthy  chan struct{} // closed while Redis answers

	resync chan struct{}
}

type cancelled struct{ session, reason string }

type end struct {
	state.End
	at time.Time
}

// New makes an admitter; Run does its periodic work.
func New(store Store, o Options) *Admitter {
	healthy := make(chan struct{})
	close(healthy)
	if o.RedisError == nil {
		o.RedisError = func() {}
	}
	if o.Standing == nil {
		o.Standing = func(bool, string) {}
	}
	return &Admitter{store: store, o: o, tickets: map[string]*Ticket{}, draining: make(chan struct{}), healthy: healthy,
		resync: make(chan struct{}, 1)}
}

// NewID makes a session id: 128 random bits, because until the session has
// started its id is the credential at the worker's gate.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Waiting is the number of clients that have no worker yet.
func (a *Admitter) Waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tickets)
}

// Drain refuses everybody who waits and whoever comes.
func (a *Admitter) Drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.drained {
		a.drained = true
		close(a.draining)
	}
}

// SetHealth tells whether Redis answers.
func (a *Admitter) SetHealth(ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.healthy:
		if !ok {
			a.healthy = make(chan struct{})
		}
	default:
		if ok {
			close(a.healthy)
			a.wakeResync() // what could not be said can be said now
		}
	}
}

// trouble tells whether the failure of a call is one of Redis as a whole.
func (a *Admitter) trouble(err error) bool {
	select {
	case <-a.health():
		_, refused := redisx.WriteRefusal(err)
		return refused
	default:
		return true
	}
}

func (a *Admitter) health() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.healthy
}

// Epoch takes the epoch of a reply; changed tells that Redis came back empty.
// The waiting clients are queued again then.
func (a *Admitter) Epoch(epoch string) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = a.epoch != "" && a.epoch != epoch
	a.epoch = epoch
	if changed {
		a.wakeResync()
	}
	return changed
}

// current tells whether a reply's epoch is the latest that was heard of.
func (a *Admitter) current(epoch string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch == "" || a.epoch == epoch
}

func (a *Admitter) wakeResync() {
	select {
	case a.resync <- struct{}{}:
	default:
	}
}

// Notice takes an entry of the proxy's inbox. Doing so twice is harmless.
func (a *Admitter) Notice(n state.Notice) {
	a.mu.Lock()
	t := a.tickets[n.Session]
	a.mu.Unlock()
	if t == nil {
		return // the client has left; its cancel is on the way or done
	}
	st := state.Standing{Meta: state.Meta{Epoch: n.Epoch}, Phase: state.Ended, Reason: n.Ended}
	if n.Granted {
		st = state.Standing{Meta: st.Meta, Phase: state.Assigned, Grant: n.Grant}
	}
	t.tell(st)
}

// Ended reports an active session whose connection this proxy saw ending. Its
// worker says so too, and at once; this is for a worker that cannot.
func (a *Admitter) Ended(e state.End) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = append(a.ends, end{e, time.Now()})
}

// cancel gives a session back. Where that fails it is kept for later.
func (a *Admitter) cancel(session, reason string, limit time.Duration) error {
	ctx, done := context.WithTimeout(context.Background(), limit)
	defer done()
	_, err := a.store.Cancel(ctx, session, a.o.Proxy, reason)
	if err != nil {
		a.o.RedisError()
		a.mu.Lock()
		a.cancels = append(a.cancels, cancelled{session, reason})
		a.mu.Unlock()
	}
	return err
}

// Run sends heartbeats, reaps when the pool's next deadline comes, and brings
// the waiting clients back after a reset. It ends with the context.
func (a *Admitter) Run(ctx context.Context) {
	beat := time.NewTicker(a.o.Heartbeat)
	defer beat.Stop()
	deadline := time.NewTimer(0)
	stopTimer(deadline)
	defer deadline.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			a.schedule(deadline, a.heartbeat(ctx, false))
		case <-deadline.C:
			a.schedule(deadline, a.reap(ctx))
		case <-a.resync:
			a.schedule(deadline, a.heartbeat(ctx, true))
		}
	}
}

// Beat sends one heartbeat now; the first makes the proxy known to the pool.
func (a *Admitter) Beat(ctx context.Context) error {
	r, err := a.store.ProxyHeartbeat(ctx, a.o.Proxy, "")
	if err == nil {
		a.heed(r)
	}
	return err
}

// heed notes that what a reply asked for is done.
func (a *Admitter) heed(r state.ProxyReply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heeded = r.Told
}

// heartbeat returns the time until the pool's next deadline. If the pool had
// forgotten this proxy, or in any case if asked to, it brings the waiting
// clients back.
func (a *Admitter) heartbeat(ctx context.Context, again bool) (next time.Duration) {
	a.mu.Lock()
	heeded := a.heeded
	a.mu.Unlock()
	ends := a.takeEnds(a.o.Heartbeat / 2)
	c, done := context.WithTimeout(ctx, callTimeout)
	defer done()
	n := min(endsBatch, len(ends))
	r, err := a.store.ProxyHeartbeat(c, a.o.Proxy, heeded, aged(ends[:n])...)
	if err != nil {
		a.o.RedisError()
		a.putBack(ends)
		a.refused(err)
		return -1
	}
	a.o.Standing(true, "")
	_ = a.report(c, ends[n:]) // what failed is kept
	a.flush(ctx)
	if (again || r.New) && !a.requeue(ctx) {
		return r.Next // the next heartbeat is told again
	}
	a.heed(r)
	return r.Next
}

// refused tells of a heartbeat that Redis has answered and not taken. That Redis
// does not answer is found by others, and sooner.
func (a *Admitter) refused(err error) {
	why, full := redisx.WriteRefusal(err)
	switch {
	case full:
		a.o.Standing(false, "Redis refuses writes: "+why)
	case errors.Is(err, state.ErrSchema), redisx.IsReply(err):
		a.o.Log.Error("heartbeat refused", zap.Error(err))
		a.o.Standing(false, "the pool refuses this proxy's heartbeat: "+err.Error())
	}
}

// takeEnds takes the ends that are old enough for their worker to have had its say.
func (a *Admitter) takeEnds(age time.Duration) []end {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	var due []end
	a.ends = slices.DeleteFunc(a.ends, func(e end) bool {
		if now.Sub(e.at) < age {
			return false
		}
		due = append(due, e)
		return true
	})
	return due
}

func (a *Admitter) putBack(ends []end) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = append(a.ends, ends...)
}

// aged gives ends their ages as of now, when the call that tells them begins.
func aged(ends []end) []state.End {
	now := time.Now()
	list := make([]state.End, len(ends))
	for i, e := range ends {
		list[i] = e.End
		list[i].Ago = now.Sub(e.at)
	}
	return list
}

// flush says what could not be said while Redis was away.
func (a *Admitter) flush(ctx context.Context) {
	a.mu.Lock()
	cancels := a.cancels
	a.cancels = nil
	a.mu.Unlock()
	for i, c := range cancels {
		if ctx.Err() == nil && a.cancel(c.session, c.reason, callTimeout) == nil {
			continue
		}
		// Each further one would only wait as long; cancel has kept this one.
		rest := cancels[i+1:]
		if ctx.Err() != nil {
			rest = cancels[i:]
		}
		a.mu.Lock()
		a.cancels = append(a.cancels, rest...)
		a.mu.Unlock()
		return
	}
}

// Flush reports everything that is left, at the end of the process.
func (a *Admitter) Flush(ctx context.Context) error {
	a.flush(ctx)
	return a.report(ctx, a.takeEnds(0))
}

// endsBatch bounds the ends in one call, and with that how long it holds Redis.
const endsBatch = 200

// report ends sessions; those it could not are kept for later.
func (a *Admitter) report(ctx context.Context, ends []end) error {
	for len(ends) > 0 {
		n := min(endsBatch, len(ends))
		if err := a.store.Finish(ctx, state.SideProxy, a.o.Proxy, aged(ends[:n])...); err != nil {
			a.o.RedisError()
			a.putBack(ends)
			return err
		}
		ends = ends[n:]
	}
	return nil
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
