package relay

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
)

// Result tells how a session ended and what went through it.
type Result struct {
	Reason                                       string
	BytesUp, BytesDown, MessagesUp, MessagesDown uint64
}

// The reasons that a relay finds out by itself.
const (
	ReasonClient  = "client_closed"
	ReasonWorker  = "worker_closed" // with a WebSocket close frame
	ReasonLost    = "worker_lost"   // without one
	ReasonStalled = "stalled"
)

type closing struct {
	code int
	text string
}

// Session is one client with its worker.
type Session struct {
	relay   *Relay
	legs    [2]*leg
	dirs    [2]dir // by the side they read from
	closing atomic.Pointer[closing]
	onEnd   func(Result)

	mu     sync.Mutex
	reason string
	linger *time.Timer
	done   bool
}

// Start joins a client that was adopted with the connection to its worker.
// head is the worker's answer to the upgrade, which goes to the client first;
// early is what the worker sent behind it. onEnd is called once, when both
// connections are over. After an error nothing was sent to the client and the
// worker's connection is closed.
func (r *Relay) Start(c *Client, worker net.Conn, head, early []byte, onEnd func(Result)) (*Session, error) {
	wc, err := nbio.NBConn(worker)
	if err != nil {
		_ = worker.Close()
		return nil, err
	}
	s := &Session{relay: r, onEnd: onEnd, legs: [2]*leg{c.leg, newLeg(wc, workerSide)}}
	for side := range s.dirs {
		d := &s.dirs[side]
		d.session, d.src, d.dst = s, s.legs[side], s.legs[1-side]
	}
	r.add(s)

	// Nobody else pumps the worker's direction before these bytes are out.
	down := &s.dirs[workerSide]
	down.state.Store(running)
	s.legs[workerSide].session.Store(s)
	wc.SetSession(s.legs[workerSide])
	_ = c.leg.write(head)
	if len(early) > 0 {
		down.forward(early)
	}
	c.leg.session.Store(s)
	c.leg.waiting.Store(nil)
	if _, err := r.engine.AddConn(wc); err != nil {
		s.abort(ReasonLost)
		return s, nil
	}
	down.state.Store(idle)
	if c.leg.closed.Load() {
		// It left before the session was set, so nobody told the session.
		s.legClosed(c.leg)
	}
	// What came before the session was set made its event already.
	s.dirs[clientSide].run()
	down.run()
	return s, nil
}

// legClosed runs when nbio has closed a connection.
func (s *Session) legClosed(l *leg) {
	in, out := &s.dirs[l.side], &s.dirs[1-l.side]
	// Nothing will be written any more: whoever waits for that goes on.
	out.blocked.Store(false)
	in.run()
	out.run()
}

// dirOver runs when one direction has delivered everything.
func (s *Session) dirOver(d *dir) {
	s.mu.Lock()
	if s.reason == "" {
		switch {
		case d.src.side == clientSide:
			s.reason = ReasonClient
		case d.sawClose.Load():
			s.reason = ReasonWorker
		default:
			s.reason = ReasonLost
		}
	}
	both := s.dirs[0].over.Load() && s.dirs[1].over.Load()
	if !both && s.linger == nil && !s.done {
		s.linger = time.AfterFunc(s.relay.options.Linger, s.end)
	}
	s.mu.Unlock()
	if both {
		s.end()
	}
}

// closeWith asks for an orderly end: a close frame to the client as soon as the
// worker's stream is between two frames.
func (s *Session) closeWith(code int, reason, text string) {
	s.mu.Lock()
	if s.reason == "" {
		s.reason = reason
	}
	if s.linger == nil && !s.done {
		s.linger = time.AfterFunc(s.relay.options.Linger, s.end)
	}
	s.mu.Unlock()
	s.closing.CompareAndSwap(nil, &closing{code: code, text: text})
	s.dirs[workerSide].run()
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

// end closes what is still open and reports, once.
func (s *Session) end() {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return
	}
	s.done = true
	if s.linger != nil {
		s.linger.Stop()
	}
	reason := s.reason
	s.mu.Unlock()
	for i := range s.legs {
		s.relay.stuck.remove(&s.dirs[i])
		s.legs[i].close()
	}
	s.relay.remove(s)
	if s.onEnd != nil {
		up, down := &s.dirs[clientSide], &s.dirs[workerSide]
		s.onEnd(Result{
			Reason: reason, BytesUp: up.bytes.Load(), BytesDown: down.bytes.Load(),
			MessagesUp: up.messages.Load(), MessagesDown: down.messages.Load(),
		})
	}
}
