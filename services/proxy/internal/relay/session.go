package relay

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
)

// Counts is what went through a session. Up is from client to worker.
type Counts struct {
	BytesUp, BytesDown, MessagesUp, MessagesDown uint64
}

// Result tells how a session ended and what went through it.
type Result struct {
	Reason string
	Counts
}

// The reasons that a relay finds out by itself.
const (
	ReasonClient  = "client_closed"
	ReasonWorker  = "worker_closed" // with a WebSocket close frame
	ReasonLost    = "worker_lost"   // without one
	ReasonStalled = "stalled"
	ReasonDrained = "proxy_drained" // it was there when the relay was closed
	ReasonIdle    = "idle_timeout"
	ReasonTooLong = "max_duration"
)

type closing struct {
	code int
	text string
}

// Session is one client with its worker.
type Session struct {
	relay   *Relay
	legs    [2]*leg // never change once the relay has the session
	worker  leg
	dirs    [2]dir // by the side they read from
	running atomic.Int32
	closing atomic.Pointer[closing]
	// farewell is the side that sent the first close frame, plus one.
	farewell atomic.Int32
	onEnd    func(Result)

	keep    keep // the keeper's
	looks   atomic.Uint32
	doubted atomic.Bool // the pool misses the worker
	spoke   int         // of the wheel

	mu     sync.Mutex
	reason string
	over   int // directions that have delivered everything
	linger *lingering
	done   bool
}

// lingering is an end that has begun. Sessions that run have none of it.
type lingering struct {
	timer  *time.Timer
	passed uint64     // bytes when the linger time began
	left   standstill // of what the kernel had on its way
}

// Start joins a client that was adopted with the connection to its worker, which
// may be a Link. head is the worker's answer to the upgrade, which goes to the
// client first; early is what the worker sent behind it. onEnd, which may be nil,
// is called once, when nothing more goes through; a client that has left meanwhile
// is a session that ends at once. After an error nothing was sent to the client
// and the worker's connection is closed.
func (r *Relay) Start(c *Client, worker net.Conn, head, early []byte, onEnd func(Result)) (*Session, error) {
	k, ok := worker.(*Link)
	if !ok {
		var err error
		if k, err = r.link(worker); err != nil {
			return nil, err
		}
	}
	s, err := k.take()
	if err != nil {
		_ = k.Close()
		return nil, err
	}
	s.onEnd = onEnd
	w := &s.worker
	s.legs = [2]*leg{&c.leg, w}
	s.running.Store(int32(len(s.dirs)))
	for side := range s.dirs {
		d := &s.dirs[side]
		d.session, d.src, d.dst = s, s.legs[side], s.legs[1-side]
		// Events only leave word until both connections are the session's.
		d.state.Store(running)
	}
	up, down := &s.dirs[clientSide], &s.dirs[workerSide]
	up.pending, down.pending = c.early, append(append(make([]byte, 0, len(head)+len(early)), head...), early...)
	up.count(c.early)
	down.count(early)

	if err := r.add(s); err != nil {
		w.close()
		return nil, err
	}
	w.session.Store(s)
	w.link.Store(nil)
	if !c.take(s) {
		// Its descriptor is closed. Nobody uses it: neither direction has run yet,
		// and both only stop now.
		s.abort(ReasonClient)
	}
	down.drive()
	up.drive()
	return s, nil
}

// link makes a Link of a connection that stands.
func (r *Relay) link(worker net.Conn) (*Link, error) {
	conn, err := nbio.NBConn(nameless{hidden{worker}})
	if err != nil {
		_ = worker.Close()
		return nil, err
	}
	k := &Link{ready: make(chan struct{}, 1), session: &Session{relay: r, worker: leg{relay: r, fd: conn.Hash(), side: workerSide}}}
	if err := k.register(conn); err != nil {
		_ = k.Close()
		return nil, err
	}
	return k, nil
}

// sideOver runs when one side has sent everything, and before the other side
// is told, whose own end that may bring about.
func (s *Session) sideOver(first side) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" {
		s.reason = s.why(first)
	}
}

// dirOver runs when one direction has delivered everything. tell lets its
// receiver know, unless its connection is closed now anyhow.
func (s *Session) dirOver(tell func()) {
	s.mu.Lock()
	s.over++
	both := s.over == len(s.dirs)
	if !both {
		s.await()
	}
	s.mu.Unlock()
	if both {
		s.end()
	} else {
		tell()
	}
}

// why is the reason of an end that began with the end of one side. An orderly
// end is that of the side that said so first: a server closes its connection
// when it has answered the client's close frame.
func (s *Session) why(first side) string {
	switch s.farewell.Load() {
	case 1 + int32(clientSide):
		return ReasonClient
	case 1 + int32(workerSide):
		return ReasonWorker
	}
	if first == clientSide {
		return ReasonClient
	}
	return ReasonLost
}

// await gives the rest of the session the linger time.
func (s *Session) await() {
	if s.linger == nil && !s.done {
		s.linger = &lingering{passed: s.bytes()}
		s.linger.timer = time.AfterFunc(s.relay.options.Linger, s.lingered)
	}
}

func (s *Session) bytes() uint64 { return s.dirs[0].bytes.Load() + s.dirs[1].bytes.Load() }

// lingered runs when the linger time is over. What still flows goes on, and
// what waits for a slow reader is the stall limit's.
func (s *Session) lingered() {
	s.mu.Lock()
	if s.closing.Load() == nil && !s.done && s.flows(s.linger) {
		s.linger.timer.Reset(s.relay.options.Linger)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.end()
}

// flows tells whether anything has gone through since it was called last, or still
// waits for somebody.
func (s *Session) flows(l *lingering) bool {
	was := l.passed
	l.passed = s.bytes()
	return l.passed != was || s.dirs[0].blocked.Load() || s.dirs[1].blocked.Load() || s.delivers(&l.left)
}

// delivers tells whether the kernel still has bytes for a reader that is slow: they
// would be lost with the connection as soon as that reader says anything. A reader
// that has taken none for the stall limit is not waited for.
func (s *Session) delivers(left *standstill) bool {
	queued := s.legs[clientSide].undelivered() + s.legs[workerSide].undelivered()
	if queued != left.queued || left.begun.IsZero() {
		*left = standstill{time.Now(), queued}
	}
	return queued > 0 && time.Since(left.begun) < s.relay.options.Stall
}

// closeWith asks for an orderly end: a close frame to the client as soon as the
// worker's stream is between two frames.
func (s *Session) closeWith(code int, reason, text string) {
	s.mu.Lock()
	if s.reason == "" {
		s.reason = reason
	}
	s.closing.CompareAndSwap(nil, &closing{code: code, text: text})
	s.await()
	s.mu.Unlock()
	s.dirs[workerSide].run()
}

// Counts is what went through so far.
func (s *Session) Counts() Counts {
	up, down := &s.dirs[clientSide], &s.dirs[workerSide]
	return Counts{
		BytesUp: up.bytes.Load(), BytesDown: down.bytes.Load(),
		MessagesUp: up.messages.Load(), MessagesDown: down.messages.Load(),
	}
}

// Close ends the session at once.
func (s *Session) Close(reason string) { s.abort(reason) }

func (s *Session) abort(reason string) {
	s.mu.Lock()
	if s.reason == "" {
		s.reason = reason
	}
	s.mu.Unlock()
	s.end()
}

// end stops both directions; the last of them to stop calls stopped.
func (s *Session) end() {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return
	}
	s.done = true
	if s.linger != nil {
		s.linger.timer.Stop()
	}
	s.mu.Unlock()
	for i := range s.dirs {
		s.dirs[i].stop()
	}
}

// stopped closes both connections and reports. Nothing reads or writes any
// more, so the counts are final and the descriptors nobody's.
func (s *Session) stopped() {
	if s.running.Add(-1) > 0 {
		return
	}
	for i, l := range s.legs {
		s.relay.stuck.remove(&s.dirs[i])
		l.close()
	}
	s.mu.Lock()
	result := Result{s.reason, s.Counts()}
	s.mu.Unlock()
	if s.onEnd != nil {
		s.onEnd(result)
	}
	// Last, so that whoever waits for the relay to be empty has every report.
	s.relay.remove(s)
}
