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

// answerTime is how long the server may take for that until others are prepared for
// instead. The connection stays: a context whose call is given up stays in the browser.
const answerTime = 30 * time.Second

// prepare has the server go on with the opening on the spare connection, once no
// session has come for a while, unless one has come for that.
func (s *spare) prepare(ctx context.Context, g *greeted) {
	o, ok := s.await(ctx, g)
	if !ok {
		return
	}
	closing := context.AfterFunc(ctx, func() { _ = g.Close() })
	late := time.AfterFunc(s.patience, func() { s.giveUp(g, o) })
	err := g.goOn(o, s.rules)
	late.Stop()
	closing()
	s.install(g, err)
}

// await waits until it is time to prepare on a connection, and tells what; ok is false
// where that is nothing. No other session may take the connection from then on.
func (s *spare) await(ctx context.Context, g *greeted) (o opening, ok bool) {
	for since := time.Now(); ; {
		s.mu.Lock()
		o = s.expected.avoid(s.failed)
		if s.greeted != g || len(g.ready) > 0 || o.steps() <= openContext || s.credit <= 0 || !g.begins(o) || !s.mayCome() {
			s.mu.Unlock()
			return opening{}, false
		}
		if s.came.After(since) {
			since = s.came
		}
		wait := s.after - time.Since(since)
		if wait <= 0 {
			s.greeted, s.preparing, s.outdated, s.fills = nil, g, false, g.common
			s.mu.Unlock()
			return o, true
		}
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return opening{}, false
		}
	}
}

// install keeps what is prepared, if it has come to that and nobody has given it up.
func (s *spare) install(g *greeted, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.preparing == g
	if current {
		s.preparing = nil
	}
	var failure *stuck
	if errors.As(err, &failure) && errors.Is(err, errAnswer) {
		s.fail(failure.at)
	}
	if !current || s.closed || s.outdated || err != nil || !g.unspoilt() {
		s.discard(g)
		return
	}
	g.prepared = time.Now()
	g.expiry = time.AfterFunc(s.keep, func() { s.expire(g) })
	g.watched = make(chan struct{})
	s.greeted = g
	go s.watch(g)
}

// watch closes a prepared connection as soon as what is prepared is of no use any more:
// what is left of a page that has crashed is gone when it is closed.
func (s *spare) watch(g *greeted) {
	defer close(g.watched)
	for g.awaitReadable() == nil {
		s.mu.Lock()
		mine := s.greeted == g
		if mine && !g.quiet() {
			s.discard(g)
			s.greeted, mine = nil, false
		}
		s.mu.Unlock()
		if !mine {
			return
		}
	}
}

func (s *spare) giveUp(g *greeted, o opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing == g {
		s.preparing = nil
		s.fail(o)
	}
}

// fail notes an opening that a server has not gone through with. The lock is held.
func (s *spare) fail(o opening) { s.failed, s.failedAt = o, time.Now() }

// expire closes a prepared connection for which no session has come.
func (s *spare) expire(g *greeted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted == g {
		s.discard(g)
		s.greeted = nil
	}
}

// learn takes in how a session began, and what has become of what was prepared for it.
// To open a page in vain costs about as much as one that is used saves. So it goes on
// while there are no more of those than of these, and is tried again after a while.
// The lock is held.
func (s *spare) learn(like kind, same bool) {
	s.expected = opening{}
	if same {
		s.expected = s.last.opening.common(like.opening)
	}
	s.last = like
	s.untried++
	switch {
	case like.outcome == used:
		s.credit, s.untried = min(s.credit+1, maxCredit), 0
	case like.outcome == unused:
		s.credit, s.untried = s.credit-1, 0
	case s.untried >= forgetAfter:
		s.credit, s.untried = max(s.credit, 1), 0
	}
}

const (
	// firstCredit is how many pages may be opened in vain at first, maxCredit after many that were not.
	firstCredit, maxCredit = 2, 8
	// forgetAfter is after how many sessions it is tried again.
	forgetAfter = 32
	// failureTime is how long a server is not asked again for what it has not gone through with.
	failureTime = 5 * time.Minute
)

// prepared is how many contexts wait for a session.
func (s *spare) prepared() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted != nil && len(s.greeted.ready) > 0 {
		return 1
	}
	return 0
}
