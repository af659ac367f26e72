// Package relay carries the bytes of sessions on nbio's event loop: a client's
// connection on one side, a worker's on the other, and between them a verbatim
// copy with bounded buffers and back-pressure. Nothing is decoded; only frame
// headers are followed, for counts and for the places where a frame may be put
// in between.
//
// nbio's own read and write callbacks are not used for this, because they have
// no back-pressure and lose the tail of a connection that its peer closes.
// Instead the loop's read event only says that a connection is readable, and
// the relay reads when the other side has room.
package relay

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
)

// Options bound what a session may take.
type Options struct {
	// Stall ends a session when a side has taken none of the bytes that wait
	// for it for so long.
	Stall time.Duration
	// Linger is how long a side may take to close after the other has closed
	// and everything was delivered.
	Linger time.Duration
}

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{Stall: 120 * time.Second, Linger: 5 * time.Second}
}

const (
	// The marks of the bytes that wait for one side: reading stops at the high
	// one and goes on at the low one.
	highMark = 256 << 10
	lowMark  = 64 << 10

	bufferSize = 64 << 10

	// readsPerTurn bounds how long one busy connection keeps a poller from the
	// others.
	readsPerTurn = 16
)

// Relay owns the sessions of one engine.
type Relay struct {
	options Options
	engine  *nbhttp.Engine
	buffers sync.Pool

	// opened orders the acceptor's writes to a connection before the poller's
	// reads; nbio orders them through the kernel, which the race detector cannot
	// see.
	opened atomic.Uint64

	mu       sync.Mutex
	sessions map[*Session]struct{}
	empty    chan struct{} // closed when the last session of a drain has gone
	stuck    stuckSet
}

// New makes a relay on an engine that has not been started yet and takes over
// its read events. Connections without a session go on to the engine's own
// parser.
func New(engine *nbhttp.Engine, o Options) *Relay {
	r := &Relay{options: o, engine: engine, sessions: map[*Session]struct{}{}}
	r.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	engine.OnOpen(func(net.Conn) { r.opened.Add(1) })
	engine.Engine.OnRead(r.onRead)
	engine.Engine.OnWrittenSize(onWritten)
	return r
}

// Adopt takes a hijacked connection away from the HTTP parser. It must be
// called in the handler.
func (r *Relay) Adopt(conn net.Conn) (*Client, error) {
	if h, ok := conn.(*nbhttp.Conn); ok {
		conn = h.Conn
	}
	c, ok := conn.(*nbio.Conn)
	if !ok {
		return nil, errors.New("relay: not a connection of the event loop")
	}
	cl := &Client{relay: r, done: make(chan struct{})}
	cl.leg = newLeg(c, clientSide)
	cl.leg.waiting.Store(cl)
	c.SetSession(cl.leg)
	_ = c.SetReadDeadline(time.Time{})
	return cl, nil
}

// Len is the number of sessions.
func (r *Relay) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Empty returns a channel that is closed as soon as there is no session.
func (r *Relay) Empty() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.empty == nil {
		r.empty = make(chan struct{})
		if len(r.sessions) == 0 {
			close(r.empty)
		}
	}
	return r.empty
}

// CloseAll ends every session with a WebSocket close frame towards its client,
// between two frames where the worker lets it come to that within the linger
// time.
func (r *Relay) CloseAll(code int, reason, text string) {
	r.mu.Lock()
	all := make([]*Session, 0, len(r.sessions))
	for s := range r.sessions {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		s.closeWith(code, reason, text)
	}
}

func (r *Relay) add(s *Session) {
	r.mu.Lock()
	r.sessions[s] = struct{}{}
	r.mu.Unlock()
}

func (r *Relay) remove(s *Session) {
	r.mu.Lock()
	delete(r.sessions, s)
	if len(r.sessions) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
	r.mu.Unlock()
}

// onRead runs on the poller for every read event. When it returns, nbio may
// close the connection because its peer has sent FIN, and would throw away
// what was not read: guard keeps that.
func (r *Relay) onRead(c *nbio.Conn) {
	l, ok := c.Session().(*leg)
	if !ok {
		r.parse(c)
		return
	}
	if s := l.session.Load(); s != nil {
		if !s.dirs[l.side].run() {
			l.guard()
		}
		return
	}
	// A client that waits: what it sends stays in the kernel until it has a
	// worker. That it has gone shows as its connection being closed.
	l.guardWaiting()
}

// parse reads for the HTTP parser as nbio does by itself in edge-triggered mode.
func (r *Relay) parse(c *nbio.Conn) {
	r.opened.Load()
	p := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(p)
	for {
		n, err := c.Read(*p)
		if n > 0 {
			c.DataHandler()(c, (*p)[:n])
			if _, taken := c.Session().(*leg); taken || n < len(*p) {
				return
			}
			continue
		}
		switch classify(n, err) {
		case readAgain:
			continue
		case readDrained:
			return
		default:
			_ = c.CloseWithError(err)
			return
		}
	}
}

func onWritten(c *nbio.Conn, _ []byte, n int) {
	if l, ok := c.Session().(*leg); ok {
		l.written(n)
	}
}
