package gate

import (
	"context"
	"errors"
	"time"
)

// prepareAfter is how long no session may have come before something is prepared for
// one. To open a page keeps a processor busy for as long as all else that a session
// begins with, and one that has begun is not to wait for what the next may need.
const prepareAfter = 100 * time.Millisecond

// keepPrepared is how long a page may wait for its session. It has a process with its
// memory, and its document knows how old it is.
const keepPrepared = 5 * time.Minute

// prepare has the server go on with the opening on the spare connection, unless a
// session has come for that.
func (s *spare) prepare(ctx context.Context, g *greeted) {
	timer := time.NewTimer(s.after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	s.mu.Lock()
	o := s.expected.avoid(s.failed)
	if s.greeted != g || len(g.ready) > 0 || o.steps() <= openContext || !g.begins(o) || !s.mayCome() {
		s.mu.Unlock()
		return
	}
	s.greeted, s.filling, s.outdated = nil, true, false
	s.mu.Unlock()

	done := context.AfterFunc(ctx, func() { _ = g.Close() })
	err := g.goOn(o, s.rules)
	done()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.filling = false
	var failure *stuck
	if errors.As(err, &failure) && errors.Is(err, errAnswer) {
		s.failed = failure.at
	}
	if s.closed || s.outdated || err != nil {
		s.discard(g)
		return
	}
	s.greeted = g
	time.AfterFunc(s.keep, func() { s.expire(g) })
}

// expire closes a prepared connection for which no session has come.
func (s *spare) expire(g *greeted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted == g {
		s.discard(g)
		s.greeted = nil
	}
}

// prepared is how many contexts wait for a session.
func (s *spare) prepared() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted != nil && len(s.greeted.ready) > 0 {
		return 1
	}
	return 0
}
