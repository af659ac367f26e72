// Package relay carries the bytes of sessions on nbio's event loop: a client's
// connection on one side, a worker's on the other, and between them a verbatim
// copy with back-pressure. Nothing is decoded; only frame headers are followed,
// for counts and for the places where a frame may be put in between.
//
// Of the loop only the events are used, and an event is a hint and nothing
// else. Each direction reads when its other side has room, holds at most one
// buffer, and the descriptors are closed when neither direction runs any more.
package relay

import (
	"errors"
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
	// Linger is how long a side may be silent after the other has closed and
	// everything was delivered. It is also how long CloseAll waits for the end
	// of a frame, and how long a refused client may take to read why.
	Linger time.Duration
	// Ping is how long a client may say nothing before it is sent a WebSocket
	// ping, and a worker for four times as long, or as long as a client while
	// it is in doubt; 0 sends none.
	Ping time.Duration
	// Dead ends a session when a side has answered no ping for so long, unless
	// bytes wait for it: then Stall is what judges.
	Dead time.Duration
	// Pipes is how many long frames may go through the kernel alone at the same
	// time. Each takes two descriptors, which are kept for the
	// next one while there are sessions.
	Pipes int
	// Rooms is how many directions may have a descriptor to wait for room with, at the
	// same time. The others are looked at now and then.
	Rooms int
	// Idle ends a session whose client has sent nothing for so long; what answers
	// a ping of the relay is nothing. Longest ends one that has run for so long. 0 is for ever.
	Idle, Longest time.Duration
	// Foretell, which may be nil, is told of sessions that the relay is about to
	// cut by its own judgement, and of the reason, while the other ends cannot see
	// anything yet. The sessions go on until it returns. It may be called by several
	// goroutines at the same time.
	Foretell func(sessions []*Session, reason string)
}

// look is the time between two looks at a session.
func (o *Options) look() time.Duration { return o.Ping / looksPerPing }

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{Stall: 120 * time.Second, Linger: 5 * time.Second, Ping: 30 * time.Second, Dead: 60 * time.Second, Pipes: 16, Rooms: 32}
}

const (
	// bufferSize is what one direction holds at most while its destination
	// takes nothing. With a quarter of it, bulk costs a fifth more.
	bufferSize = 256 << 10

	// readsPerTurn bounds how long one busy connection keeps a loop from the
	// others.
	readsPerTurn = 16
)

// ErrClosed reports that the relay takes no more connections.
var ErrClosed = errors.New("relay: closed")

// Relay owns the sessions of one engine.
type Relay struct {
	options Options
	engine  *nbhttp.Engine
	buffers sync.Pool
	pipes   pipePool
	stuck   stuckSet
	rooms   roomSet

	// handover orders what was written before a connection is registered before
	// its events; nbio does so through the kernel, which the race detector cannot
	// see.
	handover atomic.Uint64

	conns connections // that a loop watches

	mu      sync.Mutex
	closed  bool
	clients map[*Client]struct{} // without a session
	wheel   wheel
	empty   chan struct{} // closed when the last session has gone
	keeping bool          // the keeper runs
	// limiting: somebody looks for sessions that come to a limit.
	limiting bool
}

// New makes a relay on an engine that has not been started yet and takes over
// its events: every connection must be hidden and have a Watched as its
// session. open sees each one before the loop does.
func New(engine *nbhttp.Engine, open func(*nbio.Conn), o Options) *Relay {
	r := &Relay{options: o, engine: engine, clients: map[*Client]struct{}{}, conns: make(connections, nbio.MaxOpenFiles)}
	r.pipes.most, r.rooms.most = o.Pipes, o.Rooms
	r.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	engine.Engine.OnOpen(func(c *nbio.Conn) {
		open(c)
		r.handover.Add(1)
		r.conns.enter(c)
	})
	engine.Engine.OnRead(func(c *nbio.Conn) {
		r.handover.Load()
		if w, ok := c.Session().(Watched); ok {
			w.Ready()
		}
	})
	engine.OnClose(r.conns.leave)
	return r
}

// Close cuts what is left. Every session has been reported when it returns.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	sessions := r.list()
	clients := make([]*Client, 0, len(r.clients))
	for c := range r.clients {
		clients = append(clients, c)
	}
	r.mu.Unlock()
	for _, s := range sessions {
		s.abort(ReasonDrained)
	}
	for _, c := range clients {
		c.drop()
	}
	<-r.Empty()
}

// Adopt takes a client's connection, and its descriptor with it. Its Watched
// passes on to the Client from now on. numbers are further descriptors of the
// same socket, early is what the client has sent behind its request.
func (r *Relay) Adopt(conn *nbio.Conn, numbers []int, early []byte) (*Client, error) {
	c := &Client{leg: leg{relay: r, fd: conn.Hash(), side: clientSide, watched: conn, numbers: numbers}, early: early}
	c.client = c
	_ = conn.SetReadDeadline(time.Time{})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.leg.close()
		return nil, ErrClosed
	}
	r.clients[c] = struct{}{}
	return c, nil
}

// Len is the number of sessions.
func (r *Relay) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wheel.len
}

// Empty returns a channel that is closed as soon as there is no session.
func (r *Relay) Empty() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wheel.len == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if r.empty == nil {
		r.empty = make(chan struct{})
	}
	return r.empty
}

// CloseAll ends every session with a WebSocket close frame towards its client,
// between two frames where the worker lets it come to that within the linger
// time.
func (r *Relay) CloseAll(code int, reason, text string) {
	r.mu.Lock()
	all := r.list()
	r.mu.Unlock()
	for _, s := range all {
		s.closeWith(code, reason, text)
	}
}

func (r *Relay) list() []*Session {
	all := make([]*Session, 0, r.wheel.len)
	for _, spoke := range r.wheel.spokes {
		for s := range spoke {
			all = append(all, s)
		}
	}
	return all
}

func (r *Relay) add(s *Session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.wheel.add(s)
	if r.options.Ping > 0 && !r.keeping {
		r.keeping = true
		go r.keepAlive()
	}
	if r.options.limited() && !r.limiting {
		r.limiting = true
		go r.limit()
	}
	return nil
}

func (r *Relay) forget(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clients, c)
}

func (r *Relay) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wheel.remove(s)
	if r.wheel.len == 0 {
		r.pipes.trim()
	}
	if r.wheel.len == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}
