// Package gate is the only way to a worker's browser. It lets a connection
// through if the pool has assigned its session to this worker and it is the
// first to claim it, moves the bytes both ways, and tells the pool how the
// session ended.
package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Pool is what the gate asks and tells the pool.
type Pool interface {
	// Check tells whether the session may start here, without starting it.
	Check(ctx context.Context, session string, attempt int) (bool, error)
	// Claim makes the session active, once. From then on until Ended, end may
	// be called to have the session closed; it does not block.
	Claim(ctx context.Context, s state.Serving, end func(Ending)) (state.StartAnswer, error)
	// Ended takes the end of a session that has started. It does not block.
	Ended(e state.End)
}

// Browser is the Playwright server behind the gate.
type Browser interface {
	// Current returns where it listens; ok is false while it is down.
	Current() (e browser.Endpoint, ok bool)
	// Over is closed when the server of that generation is down.
	Over(generation int) <-chan struct{}
	// Hung tells whether it was killed because it did no work.
	Hung(generation int) bool
}

// Ending is an end that the worker decides on.
type Ending struct {
	Reason string // as the pool names it
	Text   string // for the client, in the close frame
}

// Options of a gate.
type Options struct {
	Listen  string
	Slots   int
	Stall   time.Duration // how long the server may take nothing while bytes wait for it; a proxy ten times as long
	Log     *zap.Logger
	Metrics *Metrics
	Guard   *guard.Rules // nil lets clients call what they like
	Wanted  func() bool  // whether the pool may still assign sessions; nil = always
	Prepare string       // what is opened before a client asks for it: PreparePage, PrepareContext or PrepareNothing
}

// What a gate may open in advance for the next client, where the last two began alike.
const (
	PreparePage    = "page" // a context, and a page in it
	PrepareContext = "context"
	PrepareNothing = "nothing"
)

// advance is how many calls of an opening may be made in advance.
func (o *Options) advance() int {
	switch o.Prepare {
	case PreparePage:
		return openPage + 1
	case PrepareContext:
		return openContext + 1
	}
	return sayHello + 1
}

// Gate is a component of package run.
type Gate struct {
	o       Options
	pool    Pool
	browser Browser
	slots   chan struct{}
	proxies acquaintances
	spare   spare
	doubt   doubt
	// leastSilence, full, helloTime and endTime are the constants but in tests.
	leastSilence, full, helloTime, endTime time.Duration

	listener net.Listener
	tasks    sync.WaitGroup
	base     context.Context // ends when the gate is torn down
	cancel   context.CancelFunc

	mu     sync.Mutex
	open   map[net.Conn]struct{} // connections of clients, in whatever state
	closed bool
}

// New makes a gate that does not listen yet.
func New(o Options, b Browser, p Pool) *Gate {
	g := &Gate{
		o: o, browser: b, pool: p, slots: make(chan struct{}, o.Slots), open: map[net.Conn]struct{}{},
		spare: spare{rules: o.Guard, metrics: o.Metrics, wanted: o.Wanted, after: prepareAfter, keep: keepPrepared, patience: answerTime, dismiss: dismissTime, credit: firstCredit}, doubt: doubt{lasts: doubtTime}, leastSilence: leastSilence, full: fullPatience, helloTime: helloTime, endTime: endTime,
	}
	g.base, g.cancel = context.WithCancel(context.Background())
	return g
}

// Taken is the number of slots in use.
func (g *Gate) Taken() int { return len(g.slots) }

// Prepared is the number of contexts that wait for a session.
func (g *Gate) Prepared() int { return g.spare.prepared() }

// Addr is where the gate listens, after Start.
func (g *Gate) Addr() *net.TCPAddr {
	addr, _ := g.listener.Addr().(*net.TCPAddr)
	return addr
}

// Name implements run.Component.
func (g *Gate) Name() string { return "gate" }

// keepAlive asks a peer while nothing is under way; watchSilence finds that it is
// gone. Each worker waits for another time, because the kernel
// sends all probes of the same two seconds at once, and where a machine has a
// thousand sessions drops those that are too many.
func keepAlive() net.KeepAliveConfig {
	idle := 20 + rand.IntN(20) //nolint:gosec // no secret
	return net.KeepAliveConfig{Enable: true, Idle: time.Duration(idle) * time.Second, Interval: 10 * time.Second, Count: 3}
}

// Listen opens the port: before anything else is done, because it may be in
// use, and because its number may have been left to the system.
func (g *Gate) Listen(ctx context.Context) error {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	l, err := lc.Listen(ctx, "tcp", g.o.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w (set another address with --listen or PWDIST_LISTEN)", g.o.Listen, err)
	}
	g.listener = l
	return nil
}

// Close gives the port up.
func (g *Gate) Close(context.Context) error {
	if err := g.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Start accepts connections on the port that Listen has opened.
func (g *Gate) Start(context.Context) error {
	g.tasks.Go(g.accept)
	return nil
}

// Stop closes the port and cuts what is still open.
func (g *Gate) Stop(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	for c := range g.open {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.cancel()
	g.spare.close()
	err := g.Close(ctx)
	g.tasks.Wait()
	return err
}

func (g *Gate) accept() {
	var wait time.Duration
	for {
		c, err := g.listener.Accept()
		if err == nil {
			wait = 0
			g.take(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors, most likely: sessions that end give some back.
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		g.o.Log.Warn("cannot accept a connection", zap.Error(err), zap.Stringer("again_in", wait))
		select {
		case <-time.After(wait):
		case <-g.base.Done():
			return
		}
	}
}

func (g *Gate) take(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return
	}
	g.open[c] = struct{}{}
	g.tasks.Go(func() {
		defer g.forget(c)
		g.serve(c)
	})
}

func (g *Gate) forget(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
}

// fullPatience is how long a connection waits for a slot. The pool may have
// given away a slot whose session it saw ending before its sockets here were
// closed, or whose end it decided on itself and has just told this worker.
const fullPatience = endTime + 500*time.Millisecond

func (g *Gate) takeSlot() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(g.full)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-g.base.Done():
	}
	return false
}

func (g *Gate) freeSlot() { <-g.slots }
