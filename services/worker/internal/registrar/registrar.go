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

// Name implements run.Component.
func (r *Registrar) Name() string { return "registrar" }

// Start begins the membership, which waits for the browser.
func (r *Registrar) Start(context.Context) error {
	go r.loop()
	return nil
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
