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
	// Absent says that no worker has the browser of a demand, where that is so, for
	// those who have waited for one; it may be nil.
	Absent func(d state.Demand) string
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
	heeded   string // the last heartbeat's reply that is known to have arrived
	ends     []end  // seen by this proxy, for its next heartbeat
	draining chan struct{}
	drained  bool
	healthy  chan struct{} // closed while Redis answers

	resync chan struct{}
	behind behind
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
	if o.Absent == nil {
		o.Absent = func(state.Demand) string { return "" }
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

// Resync has the waiting clients queued again where the pool does not know them
// any more, which a Redis may have lost that is away for a moment only.
func (a *Admitter) Resync() { a.wakeResync() }

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

// Run sends heartbeats, reaps when the pool's next deadline comes, and brings
// the waiting clients back after a reset. It ends with the context.
func (a *Admitter) Run(ctx context.Context) {
	defer a.behind.Wait()
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

// heed notes that a reply has arrived. What it asks for is done from here on, however
// often that has to be tried.
func (a *Admitter) heed(r state.ProxyReply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heeded = r.Told
}

// heartbeat returns the time until the pool's next deadline. If the pool had
// forgotten this proxy, or in any case if asked to, the waiting clients are
// brought back.
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
	a.heed(r)
	_ = a.report(c, ends[n:]) // what failed is kept
	a.catchUp(ctx, again || r.New)
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
