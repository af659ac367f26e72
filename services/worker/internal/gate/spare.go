package gate

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
)

// spare is a connection to the Playwright server for the next session, opened when
// one has ended. When two in a row came with the same handshake, it is expected of
// the third, and the server has answered it already: half a handshake's time is the
// server's, and most of what it does then is the same for all. So it is with what a
// client says first (see hello). Otherwise nothing
// has been said on it, and the server closes it when no other comes for about a
// minute. What has become of it in the meantime its user finds out.
//
// A server that stands still answers no handshake, so that at most one session
// meets one that did so when it was greeted.
type spare struct {
	mu      sync.Mutex
	conn    net.Conn
	greeted *greeted // instead of conn
	last    kind     // of the session that ended last
	hello   hello    // which the last two said, if these were of one kind
	proved  hello    // which the server has answered as expected
	failed  hello    // which it has not
	filling bool
	closed  bool
}

// kind is how a session began, as far as others begin like it.
type kind struct {
	handshake common
	hello     hello
}

// expects is what a session with that handshake is expected to say first.
func (s *spare) expects(like common) hello {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.handshake != like || s.proved != s.hello {
		return ""
	}
	return s.hello
}

// yield closes a connection on which was said what a session of this kind would
// not: in what concerns the browser as a whole, the language of texts, the server
// goes by who said hello last.
func (s *spare) yield(like common) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted != nil && s.greeted.common != like {
		_ = s.greeted.Close()
		s.greeted = nil
	}
}

// take returns a connection on which nothing was said, or one that has the
// server's yes to this handshake, or neither.
func (s *spare) take(e browser.Endpoint, like common, keys []string) (net.Conn, *served) {
	s.mu.Lock()
	c, g := s.conn, s.greeted
	s.conn, s.greeted = nil, nil
	s.mu.Unlock()
	switch {
	case g == nil:
		return c, nil
	case g.suits(e, like):
		return nil, g.answer(keys[0])
	}
	_ = g.Close()
	return nil, nil
}

// refill opens a connection for the next session, if there is none, after one
// of that kind.
func (s *spare) refill(ctx context.Context, e browser.Endpoint, like kind) {
	s.mu.Lock()
	same := like.handshake != "" && s.last.handshake == like.handshake
	s.hello = ""
	if same && s.last.hello == like.hello {
		s.hello = like.hello
	}
	s.last = like
	expected := s.hello
	if expected == s.failed {
		expected = ""
	}
	if s.conn != nil || s.greeted != nil || s.filling || s.closed {
		s.mu.Unlock()
		return
	}
	s.filling = true
	s.mu.Unlock()

	c, g, err := connect(ctx, e, like.handshake, same, expected)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.filling = false
	switch {
	case errors.Is(err, errWelcome):
		s.failed = expected
	case g != nil && g.welcome != nil:
		s.proved = expected
	}
	if s.closed || err != nil {
		closeBoth(c, g)
		return
	}
	s.conn, s.greeted = c, g
}

// connect opens a connection, and says on it what is expected to be said. Where
// that fails there is none: the next session tells.
func connect(ctx context.Context, e browser.Endpoint, like common, say bool, h hello) (net.Conn, *greeted, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", e.Socket)
	if err != nil {
		return nil, nil, err
	}
	if !say {
		return c, nil, nil
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	g, err := greet(c, e, like)
	if err == nil && h != "" {
		err = g.introduce(h)
	}
	return nil, g, err
}

func closeBoth(c net.Conn, g *greeted) {
	if c != nil {
		_ = c.Close()
	}
	if g != nil {
		_ = g.Close()
	}
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	closeBoth(s.conn, s.greeted)
	s.conn, s.greeted = nil, nil
}
