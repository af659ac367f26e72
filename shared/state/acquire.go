package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// acquireCalls is how many calls for slots a store has under way. What is asked for meanwhile
	// goes into the next one: in a storm of clients a call of its own for each took a thirtieth
	// more CPU of proxy and Redis. Two clients at once do not wait for each other.
	acquireCalls = 2
	// acquireAtOnce bounds a call, and with that how long it holds Redis.
	acquireAtOnce = 16
	// acquirePatience is after how long nobody waits for other calls any more, which may be stuck
	// where Redis stands still or is far away: who has sent a request keeps his place in line, also
	// when he has to send it again.
	acquirePatience = 50 * time.Millisecond
	// acquireArgs is how many arguments acquire.lua reads for one session.
	acquireArgs = 14
)

// gathering are requests for slots that wait for a call to end.
type gathering struct {
	mu      sync.Mutex
	calls   int // under way
	waiting []*gathered
	hurry   *time.Timer // runs out when the first of them has waited for long enough
	// patience is acquirePatience, but for tests.
	patience time.Duration
}

// gathered is a request and, once answered is closed, its answer.
type gathered struct {
	ctx      context.Context
	request  Request
	standing Standing
	err      error
	answered chan struct{}
}

// Acquire assigns a least-loaded fitting worker or queues the session, in one
// step. Called again with a known session it tells where that is. Requests made while
// others are under way may go to Redis in one call; those made again do not, since a proxy
// that brings its clients back does so one after the other, in order.
func (s *Store) Acquire(ctx context.Context, r Request) (Standing, error) {
	g := &s.gathering
	g.mu.Lock()
	if g.calls < acquireCalls || r.Again {
		g.calls++
		g.mu.Unlock()
		defer s.acquired()
		all, err := s.acquire(ctx, r)
		return all[0], err
	}
	w := &gathered{ctx: ctx, request: r, answered: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	if len(g.waiting) == 1 {
		s.bePatient()
	}
	g.mu.Unlock()
	select {
	case <-w.answered:
		return w.standing, w.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *gathered) bool { return other == w })
	return Standing{}, ctx.Err()
}

// bePatient sets when what waits is sent at the latest. The lock is held.
func (s *Store) bePatient() {
	if g := &s.gathering; g.hurry != nil {
		g.hurry.Reset(g.patience)
	} else {
		g.hurry = time.AfterFunc(g.patience, s.acquireAll)
	}
}

// acquired runs when a call has ended: it makes the next one, if any is due.
func (s *Store) acquired() {
	g := &s.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	if len(g.waiting) > 0 && g.calls < acquireCalls {
		s.acquireNext()
	}
}

// acquireAll sends what waits, however many calls are under way.
func (s *Store) acquireAll() {
	g := &s.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) > 0 {
		s.acquireNext()
	}
}

// acquireNext makes a call of what waits for longest. The lock is held.
func (s *Store) acquireNext() {
	g := &s.gathering
	n := min(len(g.waiting), acquireAtOnce)
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	if len(g.waiting) > 0 {
		s.bePatient()
	}
	g.calls++
	go func() {
		defer s.acquired()
		s.acquireBatch(batch)
	}()
}

// acquireBatch makes a call for several, and answers each.
func (s *Store) acquireBatch(batch []*gathered) {
	ctx, done := patient(batch)
	defer done()
	requests := make([]Request, len(batch))
	for i, w := range batch {
		requests[i] = w.request
	}
	all, err := s.acquire(ctx, requests...)
	for i, w := range batch {
		w.standing, w.err = all[i], err
		if len(batch) > 1 && inScript(err) {
			// It may be about one of them only, such as of a token whose key is damaged.
			alone, err := s.acquire(ctx, w.request)
			w.standing, w.err = alone[0], err
		}
		close(w.answered)
	}
}

// inScript tells whether Redis began a call and came to an error.
func inScript(err error) bool {
	refused, ok := errors.AsType[*rueidis.RedisError](err)
	return ok && strings.Contains(refused.Error(), "@user_function")
}

// patient is a context for a call that serves several: it lasts as long as any of them
// waits, and is not over because one of them has left.
func patient(batch []*gathered) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, w := range batch {
		deadline, ok := w.ctx.Deadline()
		if !ok {
			return context.WithCancel(context.WithoutCancel(w.ctx))
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return context.WithDeadline(context.WithoutCancel(batch[0].ctx), last)
}

// acquire makes one call. It returns as many standings as there are requests, of which
// none says anything after an error.
func (s *Store) acquire(ctx context.Context, requests ...Request) ([]Standing, error) {
	args := make([]string, 0, acquireArgs*len(requests))
	for _, r := range requests {
		class, demand := r.Demand.encode()
		args = append(args,
			r.Session, r.Proxy, class, demand, oneLine(r.Demand.Browser), oneLine(r.Demand.Playwright), oneLine(r.Name), labels(r.Labels), oneLine(r.Token),
			oneLine(r.Client), itoa(r.QueueLimit), flag(r.Again), itoa(r.TokenSessions), itoa(r.TokenQueue))
	}
	all := make([]Standing, len(requests))
	m, got, err := s.run(ctx, "acquire", args...)
	for i, r := range requests {
		if err != nil {
			break
		}
		n := got.int(0)
		if n < 1 || n >= len(got) {
			err = fmt.Errorf("redis: acquire: reply of %d fields to request %d of %d", n, i+1, len(requests))
			break
		}
		all[i] = standing(r.Session, m, got[1:n+1])
		got = got[n+1:]
	}
	return all, err
}
