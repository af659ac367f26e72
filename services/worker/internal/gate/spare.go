package gate

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
)

// spare is a connection to the Playwright server for the next session, opened when
// one has ended. When two in a row came with the same handshake, it is expected of
// the third, and the server has answered it already: half a handshake's time is the
// server's, and most of what it does then is the same for all. So it is with the calls
// that a client makes first (see opening). Otherwise nothing
// has been said on it, and the server closes it when no other comes for about a
// minute. What has become of it in the meantime its user finds out.
//
// A server that stands still answers no handshake, so that at most one session
// meets one that did so when it was greeted.
type spare struct {
	rules   *guard.Rules  // for what the gate calls
	metrics *Metrics      // of what it has prepared
	wanted  func() bool   // whether another session may come
	after   time.Duration // prepareAfter but in tests
	keep    time.Duration // keepPrepared but in tests
	// patience is answerTime, dismiss dismissTime but in tests.
	patience, dismiss time.Duration

	mu         sync.Mutex
	conn       net.Conn
	greeted    *greeted // instead of conn
	last       kind     // of the session that ended last
	expected   opening  // of the last two, if these were of one kind
	proved     string   // hello which the server has answered as expected
	failed     opening  // with whose last step it did not go through
	failedAt   time.Time
	generation int // of the server that did not
	credit     int // how many pages more may be opened in vain
	untried    int // sessions since the last for which something was prepared
	filling    bool
	preparing  *greeted  // on which the server goes on
	fills      common    // as which one of both is done
	outdated   bool      // is what is being done: a session of another kind has come
	came       time.Time // when the last session came
	closed     bool
}

// kind is how a session began, as far as others begin like it.
type kind struct {
	handshake common
	opening   opening
	outcome   string // of what was prepared for it: used, unused, or empty where nothing was
}

// expects is the hello that a session with that handshake is expected to say first.
func (s *spare) expects(like common) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.handshake != like || s.proved != s.expected[sayHello] {
		return ""
	}
	return s.proved
}

// yield closes a connection on which was said what a session of this kind would
// not: in what concerns the browser as a whole, the language of texts, the server
// goes by who said hello last.
func (s *spare) yield(like common) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted != nil && s.greeted.common != like {
		s.discard(s.greeted)
		s.greeted = nil
	}
	s.comes(like)
}

// comes notes that a session of a kind comes. The lock is held.
func (s *spare) comes(like common) {
	s.came = time.Now()
	s.outdated = s.outdated || s.fills != like
}

// mayCome tells whether there is a session to come. The lock is held.
func (s *spare) mayCome() bool { return !s.closed && (s.wanted == nil || s.wanted()) }

// discard closes a connection that is of no use.
func (s *spare) discard(g *greeted) {
	if g.expiry != nil {
		g.expiry.Stop()
	}
	s.waste(g.served)
}

// waste closes a connection which a session does not come to use.
func (s *spare) waste(g *served) {
	if len(g.ready) > 0 {
		s.metrics.prepared.WithLabelValues(unused).Inc()
	}
	_ = g.Close() // last: who sees it end finds it counted
}

// take returns a connection on which nothing was said, or one that has the
// server's yes to this handshake, or neither.
func (s *spare) take(e browser.Endpoint, like common, keys []string) (net.Conn, *served) {
	s.mu.Lock()
	c, g := s.conn, s.greeted
	s.conn, s.greeted = nil, nil
	s.comes(like)
	s.mu.Unlock()
	if g != nil {
		g.leave()
	}
	switch {
	case g == nil:
		return c, nil
	case g.suits(e, like):
		return nil, g.answer(keys[0])
	}
	s.discard(g)
	return nil, nil
}

// refill opens a connection for the next session, if there is none, after one
// of that kind.
func (s *spare) refill(ctx context.Context, e browser.Endpoint, like kind) {
	s.mu.Lock()
	same := like.handshake != "" && s.last.handshake == like.handshake
	s.learn(like, same)
	if s.generation != e.Generation || time.Since(s.failedAt) > failureTime {
		s.failed, s.generation = opening{}, e.Generation // that was another server, or is long ago
	}
	expected := s.expected.avoid(s.failed)
	s.drop(like.handshake, same, expected)
	g := s.greeted
	if s.conn != nil || g != nil || s.filling || s.preparing != nil || !s.mayCome() {
		s.mu.Unlock()
		if g != nil {
			s.prepare(ctx, g)
		}
		return
	}
	s.filling, s.outdated, s.fills = true, false, like.handshake
	s.mu.Unlock()

	var c net.Conn
	var err error
	c, g, err = connect(ctx, e, like.handshake, same, expected[sayHello])

	s.mu.Lock()
	s.filling = false
	switch {
	case errors.Is(err, errAnswer):
		s.fail(expected.before(openContext))
	case g != nil && g.hello != nil:
		s.proved = expected[sayHello]
	}
	if s.closed || s.outdated && g != nil || err != nil {
		closeBoth(c, g)
		s.mu.Unlock()
		return
	}
	s.conn, s.greeted = c, g
	s.mu.Unlock()
	if g != nil {
		s.prepare(ctx, g)
	}
}

// drop closes a connection that sessions which began close together have not taken,
// if on another one more could be said, or something else. The lock is held.
func (s *spare) drop(like common, same bool, expected opening) {
	if same && s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	if g := s.greeted; same && g != nil && (g.common != like || !g.begins(expected)) {
		s.discard(g)
		s.greeted = nil
	}
}

// connect opens a connection, and says on it what is expected to be said. Where
// that fails there is none: the next session tells.
func connect(ctx context.Context, e browser.Endpoint, like common, say bool, hello string) (net.Conn, *greeted, error) {
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
	if err == nil && hello != "" {
		err = g.introduce(hello)
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
	if s.greeted != nil && s.greeted.expiry != nil {
		s.greeted.expiry.Stop()
	}
	closeBoth(s.conn, s.greeted)
	s.conn, s.greeted = nil, nil
}
