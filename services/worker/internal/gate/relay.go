package gate

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// How a session ends, as the pool names it.
const (
	clientClosed   = "client_closed"
	workerClosed   = "worker_closed"
	workerStalled  = "stalled"
	browserCrashed = "browser_crashed"
	browserHung    = "browser_hung"
	policy         = "policy"
	proxyLost      = "proxy_lost"
	// serverGone is not final: the server may have crashed, which can begin with
	// a proper close of its connections, or have closed this one.
	serverGone = "server_gone"
)

const (
	// linger is how long one side may take to close after the other has,
	// counted from the last byte that came from it.
	linger = 5 * time.Second
	// endTime is how long an end that the worker decides on may take to be told
	// to the client in good form; then the connections are cut.
	endTime = 2 * time.Second
	// proxyPatience is how many times the stall limit a client's side may take nothing.
	// Between the client and us is a proxy, which judges the client itself, by each
	// byte that it takes. It reads on only when a good part of its own buffers is empty,
	// megabytes that a client which is slow, but reads, needs longer for. What is left to
	// find here is a proxy that stands still; watchSilence finds one whose machine is gone.
	proxyPatience = 10
	closingReason = 1001 // going away
	closingPolicy = 1008
)

// relay moves the bytes of one session, both ways at once, in at most one
// buffer each way: a side that does not read holds up the other and nobody
// else. What a side sent before it closed is delivered before the other side
// hears of the close.
type relay struct {
	client, server *socket
	ends           sync.Mutex // held by who puts another server in the place of one, and by who ends the session
	up, down       pump
	stall          time.Duration // of the server
	clientStall    time.Duration
	endTime        time.Duration // the constant but in tests

	cause  atomic.Pointer[string] // the first thing that ended the session
	gone   func()                 // called when that is the server, before the client can know; may be nil
	ending atomic.Pointer[Ending] // set when the worker ends it
	called chan struct{}          // closed then
	over   chan struct{}          // closed when the server's side has ended
	cutter atomic.Pointer[time.Timer]

	guard   *guard.Guard // nil when what the client calls is its own business
	refused func(method string)
	talk    sync.Mutex // held by who writes to the client and knows where a message ends
	answers []byte     // of the guard, for the next place where they may stand
	ear     ear

	foretold foretold
	veil     *veil // over what was made for nothing yet; nil where there is none; talk guards it
	metrics  *Metrics
}

// pump is one direction of a relay.
type pump struct {
	r        *relay
	from, to *socket
	other    *pump
	counter  traffic
	begin    func() bool // comes first, if there is something; false means that this direction has ended
	early    []byte      // read with the handshake

	frames wsframe.Follower
	bytes  uint64
	// opaque is set when the bytes are no WebSocket frames. They go on being
	// moved, since the receiver knows best what to say to them, but nothing of
	// ours can be put between them.
	opaque  bool
	closing bool   // a close frame has begun
	ends    string // why the session ends when its source is the first to close
	// left is how long bytes may take to come, once the other side has closed;
	// nanoseconds, 0 is for ever.
	left atomic.Int64
}

func newRelay(client, server *socket, stall time.Duration, m *Metrics) *relay {
	r := &relay{client: client, server: server, called: make(chan struct{}), over: make(chan struct{}), stall: stall, clientStall: proxyPatience * stall, endTime: endTime, metrics: m}
	r.up = pump{r: r, from: client, to: server, other: &r.down, counter: m.up, ends: clientClosed}
	r.down = pump{r: r, from: server, to: client, other: &r.up, counter: m.down, ends: serverGone}
	return r
}

// run moves bytes until both sides have closed, closes both connections, and
// returns what the first cause of the end was.
func (r *relay) run() (cause string) {
	var down sync.WaitGroup
	down.Go(func() {
		defer close(r.over)
		r.down.run()
	})
	r.up.run()
	down.Wait()
	if t := r.cutter.Load(); t != nil {
		t.Stop()
	}
	r.cut()
	r.lose()
	if c := r.cause.Load(); c != nil {
		return *c
	}
	return serverGone // closed from outside
}

// end closes the session for the worker: with a close frame where one may
// stand, and else without.
func (r *relay) end(e Ending) {
	if !r.ending.CompareAndSwap(nil, &e) {
		return
	}
	r.because(e.Reason)
	r.cutter.Store(time.AfterFunc(r.endTime, r.cut))
	r.ends.Lock()
	defer r.ends.Unlock()
	close(r.called)
	_ = r.server.SetReadDeadline(past) // wakes the pump that writes to the client
}

var past = time.Unix(1, 0)

func (r *relay) because(cause string) {
	if r.cause.CompareAndSwap(nil, &cause) && cause == serverGone && r.gone != nil {
		r.gone()
	}
}

// cut ends both directions at once.
func (r *relay) cut() {
	r.ends.Lock()
	defer r.ends.Unlock()
	_ = r.client.Close()
	_ = r.server.Close()
}

// counts must not be called before run has returned.
func (r *relay) counts() state.Counts {
	return state.Counts{
		BytesUp: r.up.bytes, BytesDown: r.down.bytes + r.foretold.bytes,
		MessagesUp: r.up.frames.Messages(), MessagesDown: r.down.frames.Messages() + r.foretold.said,
	}
}

func (p *pump) run() {
	if p.begin != nil && !p.begin() {
		return
	}
	p.begin = nil
	if len(p.early) > 0 && !p.pass(p.early) {
		return
	}
	// An end that came before there was a read to wake.
	if p.farewell() {
		return
	}
	p.early = nil
	for {
		b, err := p.from.receive()
		if err != nil {
			if p.broken(err) {
				return
			}
			continue
		}
		ok := p.pass(b)
		p.from.release()
		if !ok {
			return
		}
		if left := p.left.Load(); left > 0 {
			_ = p.from.SetReadDeadline(time.Now().Add(time.Duration(left)))
		}
	}
}

// pass delivers bytes; false means that this direction has ended.
func (p *pump) pass(b []byte) bool {
	if p == &p.r.up && p.r.guard != nil {
		p.r.ear.hear(b)
		p.follow(b)
		return p.guarded(p.r.guard.Feed(b))
	}
	if p == &p.r.down {
		if b = p.r.shown(b); len(b) == 0 {
			return true
		}
	}
	if p == &p.r.down && p.r.ending.Load() != nil {
		if n := p.seam(b, (*wsframe.Follower).AtBoundary); n > 0 {
			b = b[:n] // the last words of the server
		}
	}
	if err := p.deliver(b); err != nil {
		p.refused(err)
		return false
	}
	return !p.farewell()
}

// deliver sends bytes and follows them, so that answers of the guard can stand
// between messages.
func (p *pump) deliver(b []byte) error {
	if p.r.guard == nil || p == &p.r.up {
		p.follow(b)
		return p.to.send(b, p.stall())
	}
	p.r.talk.Lock()
	defer p.r.talk.Unlock()
	if len(p.r.answers) > 0 {
		n := p.seam(b, (*wsframe.Follower).AtMessageBoundary)
		if err := p.deliverLocked(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return p.deliverLocked(b)
}

func (p *pump) deliverLocked(b []byte) error {
	p.follow(b)
	if err := p.to.send(b, p.stall()); err != nil {
		return err
	}
	return p.r.answerLocked()
}

// seam is how much of b goes before something of ours that waits: up to the last
// place where that may stand, or 0. In a stream that never pauses, what is read
// at once ends in such a place only by chance.
func (p *pump) seam(b []byte, fits func(*wsframe.Follower) bool) (last int) {
	ahead := p.frames
	for n := 0; n < len(b); {
		next := n + int(min(max(1, ahead.ToBoundary()), uint64(len(b)-n))) //nolint:gosec // at most len(b)
		if ahead.Feed(b[n:next]) != nil || ahead.CloseSeen() {
			break
		}
		if n = next; fits(&ahead) {
			last = n
		}
	}
	return last
}

// stall is how long the receiver may take nothing.
func (p *pump) stall() time.Duration {
	if p == &p.r.down {
		return p.r.clientStall
	}
	return p.r.stall
}

func (p *pump) follow(b []byte) {
	p.bytes += uint64(len(b))
	p.counter.bytes.Add(float64(len(b)))
	if p.opaque {
		return
	}
	before := p.frames.Messages()
	p.opaque = p.frames.Feed(b) != nil
	if n := p.frames.Messages() - before; n > 0 {
		p.counter.messages.Add(float64(n))
	}
	if !p.closing && p.frames.CloseSeen() {
		p.closing = true
		p.r.because(p.ends)
	}
}

// broken handles the end of what comes; false means to go on.
func (p *pump) broken(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) && p.r.ending.Load() != nil && p == &p.r.down {
		if p.farewell() {
			return true
		}
		// A frame that has begun has half of the time to end.
		half := p.r.endTime / 2
		if p.opaque || p.left.Swap(int64(half)) == int64(half) {
			p.r.cut()
			return true
		}
		_ = p.from.SetReadDeadline(time.Now().Add(half))
		return false
	}
	if p.waits(err) {
		return false
	}
	p.r.because(p.blame(err))
	_ = p.to.CloseWrite()
	p.other.hurry(linger)
	return true
}

// blame is the reason of an end by an error of this pump's source.
func (p *pump) blame(err error) string {
	// Either the stall limit came to pass with all that waits in the kernel, or
	// the client's machine is gone.
	if errors.Is(err, syscall.ETIMEDOUT) && p.r.client.delivering() {
		return workerStalled
	}
	return p.ends
}

// waits gives a client more time to close while bytes are still on their way
// to it, which closing would throw away. The kernel sees to it that this ends.
func (p *pump) waits(err error) bool {
	if p != &p.r.up || !errors.Is(err, os.ErrDeadlineExceeded) || !p.from.delivering() {
		return false
	}
	return p.from.SetReadDeadline(time.Now().Add(linger)) == nil
}

func (p *pump) hurry(left time.Duration) {
	p.left.Store(int64(left))
	_ = p.from.SetReadDeadline(time.Now().Add(left))
}

// refused handles that the receiver takes nothing any more.
func (p *pump) refused(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.r.because(workerStalled)
		p.r.cut()
	case p == &p.r.up:
		p.r.because(p.other.blame(err))
		// Read on: closing a connection with unread bytes resets it, and what
		// is on its way to the client would be lost.
		p.from.release()
		p.discard()
	default:
		p.r.because(p.other.blame(err))
		p.other.hurry(linger)
	}
}

func (p *pump) discard() {
	for {
		if _, err := p.from.receive(); err != nil && !p.waits(err) {
			return
		}
		p.from.release()
	}
}

// farewell ends the session towards the client if the worker wants it to end
// and a close frame may stand here.
func (p *pump) farewell() bool {
	if p != &p.r.down {
		return false
	}
	e := p.r.ending.Load()
	if e == nil || p.opaque || !p.frames.AtBoundary() {
		return false
	}
	p.r.talk.Lock()
	defer p.r.talk.Unlock()
	if !p.frames.CloseSeen() {
		code := closingReason
		if e.Reason == policy {
			code = closingPolicy
		}
		if err := p.to.send(wsframe.AppendClose(nil, code, e.Text, false), p.r.endTime); err != nil {
			p.r.cut()
			return true
		}
	}
	_ = p.from.Close()
	_ = p.to.CloseWrite()
	p.other.hurry(p.r.endTime)
	return true
}
