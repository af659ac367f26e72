package gate

import (
	"context"
	"net"
	"sync"
)

// spare is a connection to the Playwright server that nobody has said anything
// on: the next session's, so that the server has accepted it already. It is
// opened when a session has ended. The server closes it when no other comes for
// about a minute, or when it goes down, which its user finds out.
type spare struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

// take returns the connection, or nil if there is none.
func (s *spare) take() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn
	s.conn = nil
	return c
}

// refill opens a connection for the next session, if there is none.
func (s *spare) refill(ctx context.Context, socket string) {
	s.mu.Lock()
	there := s.conn != nil || s.closed
	s.mu.Unlock()
	if there {
		return
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return // the next session tells
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil || s.closed {
		_ = c.Close()
		return
	}
	s.conn = c
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}
