// Package registrar is the worker's membership in its pool: it joins when the
// browser is up, renews its lease with numbered heartbeats, claims and reports
// sessions, and retires.
//
// One goroutine makes all calls that change the worker's standing. What happens
// elsewhere (a session ends, the browser crashes, Redis comes back) is noted
// and wakes it. When Redis is away, notes wait, and sessions run on.
package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Store is the part of the pool's state that a worker uses.
type Store interface {
	Check(ctx context.Context, session, worker string, attempt int) (bool, error)
	Join(ctx context.Context, r state.JoinRequest) (state.JoinReply, error)
	Heartbeat(ctx context.Context, b state.Beat) (state.BeatReply, error)
	Start(ctx context.Context, session, worker string, attempt int, nonce string, number int64) (state.StartAnswer, error)
	Finish(ctx context.Context, by state.Side, who string, ends ...state.End) error
	Retire(ctx context.Context, worker, reason string, number int64) (state.RetireReply, error)
	Leave(ctx context.Context, worker, reason string, number int64, force bool, ends ...state.End) (held int, err error)
}

// Options of a registrar.
type Options struct {
	Worker    state.Worker // its BrowserVersion comes with the browser
	Heartbeat time.Duration
	Drain     time.Duration // what running sessions get to end when the worker is stopped
	Log       *zap.Logger
	// Standing is told whether the pool gives the worker sessions, and if not, why.
	Standing func(ok bool, why string)
	// Failed is told of every call to Redis that failed.
	Failed func()
	// Beating is told that the time of a heartbeat has come. It must not block.
	Beating func()
}

// Reasons of ends that only this package gives.
const (
	reasonMissing = "worker_closed"
	reasonCrashed = "browser_crashed"
	reasonHung    = "browser_hung"
	reasonDrained = "worker_drained"
	reasonKilled  = "killed"
)

// callTime bounds one call. Redis answers within a millisecond or is away.
const callTime = 3 * time.Second

// Registrar is a component of package run.
type Registrar struct {
	o     Options
	store Store
	// ended gets nil when the worker has left after its lifetime, or what it
	// cannot go on with.
	ended chan error
	wake  chan struct{}
	moved chan struct{} // something was done or tried; for Stop
	quit  chan struct{} // closed to end the loop
	done  chan struct{} // closed when the loop has ended

	mu      sync.Mutex
	settled *sync.Cond // a start has been answered
	number  int64      // of the last heartbeat or join
	epoch   string     // of the pool as it was joined
	heard   string     // epoch of the last reply
	up      bool       // the browser is
	down    string     // the reason when it is not
	live    map[string]*live
	outbox  []ended
	started int // sessions that started or may have
	limit   int // of them, 0 = off

	joined   bool // it has been in the pool
	join     bool // a join is due
	entering bool // a join is under way: the pool may give it sessions already
	beat     bool // a heartbeat is due
	paused   bool // Redis failed: wait for the next heartbeat's time or good news

	retire  string // the reason, once it shall go
	early   string // the reason to go before the end of its lifetime
	later   bool   // it was not let go at once, and that was logged
	granted bool   // the pool lets it go
	held    bool   // but slots of it are held, so far as was seen last
	force   bool   // go now
	left    bool   // it has gone, or may not come back

	failed  bool   // a call failed, and that was logged
	trouble string // why it failed
	refused bool   // the pool does not take it, and that was logged

	overtaken bool // the last join was stale
}

var hung = gate.Ending{Reason: reasonHung, Text: "the browser of this session stopped answering and is being restarted: connect again"}

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

// New makes a registrar. Its store comes with Attach.
func New(o Options) *Registrar {
	if o.Standing == nil {
		o.Standing = func(bool, string) {}
	}
	if o.Failed == nil {
		o.Failed = func() {}
	}
	if o.Beating == nil {
		o.Beating = func() {}
	}
	r := &Registrar{
		o: o, limit: o.Worker.Lifetime, live: map[string]*live{},
		ended: make(chan error, 1), wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	r.settled = sync.NewCond(&r.mu)
	return r
}

// Attach gives the registrar its store and the worker the address that proxies
// dial. Call it before Start.
func (r *Registrar) Attach(s Store, endpoint string) { r.store, r.o.Worker.Endpoint = s, endpoint }

// Done gets nil when the worker has left the pool after its lifetime, and an
// error when it cannot be a part of it any more.
func (r *Registrar) Done() <-chan error { return r.ended }

// note changes something under the lock and wakes the loop.
func (r *Registrar) note(change func()) {
	r.mu.Lock()
	change()
	r.mu.Unlock()
	r.poke()
}

func (r *Registrar) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Browser takes the news of the browser.
func (r *Registrar) Browser(s browser.State) {
	r.note(func() {
		if s.Up {
			r.o.Worker.BrowserVersion = s.BrowserVersion
		}
		if r.up == s.Up {
			return
		}
		r.up = s.Up
		r.down = reasonCrashed
		if s.Hung {
			r.down = reasonHung
			// Its connections would stay open as long as it hangs. One that is about
			// to start ends with the server.
			for _, l := range r.live {
				if !l.starting {
					l.end(hung)
				}
			}
		}
		if !r.joined {
			r.join = r.up
			return
		}
		// The pool hears of it at once, before it hears of the sessions that
		// ended with it: their slots must not be offered.
		r.beat = true
	})
}

// Retire has the worker go as at the end of its lifetime: at once or, when too
// many others are on their way, as soon as it may, about which it asks with each
// heartbeat.
func (r *Registrar) Retire(reason string) {
	r.note(func() {
		r.early = reason
		if r.retire == "" {
			r.retire = reason
		}
	})
}

// Redis takes the news of the connection.
func (r *Registrar) Redis(ok bool) {
	if ok {
		r.note(func() {
			r.paused = false
			r.beat = r.joined
		})
	}
}

// Heard takes what came with a reply. It may be called from any call.
func (r *Registrar) Heard(m state.Meta) {
	r.mu.Lock()
	r.heard = m.Epoch
	reset := r.epoch != "" && m.Epoch != r.epoch
	if reset {
		r.join = true
	}
	r.mu.Unlock()
	if reset {
		r.poke()
	}
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

// Oldest tells since when the oldest session has been here, and whether there is
// any, those included that are about to start.
func (r *Registrar) Oldest() (since time.Time, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.live {
		if !some || l.since.Before(since) {
			since, some = l.since, true
		}
	}
	return since, some
}

// Name implements run.Component.
func (r *Registrar) Name() string { return "registrar" }

// Start begins the membership, which waits for the browser.
func (r *Registrar) Start(context.Context) error {
	go r.loop()
	return nil
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

// end tells that the membership is over.
func (r *Registrar) end(err error) {
	select {
	case r.ended <- err:
	default:
	}
}

var (
	errReplaced  = errors.New("two workers must not advertise the same address (--advertise or PRIVATE_HOSTNAME): give each its own, or stop one of them")
	errFlavours  = errors.New("the pool has as many kinds of workers as it may (browser, Playwright version, labels)")
	errOvertaken = errors.New("the pool goes on hearing of this worker under numbers that are not its own")
)

func replacedBy(worker, endpoint string) error {
	return fmt.Errorf("worker %s has joined the pool at this worker's endpoint %s: %w", worker, endpoint, errReplaced)
}
