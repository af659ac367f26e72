package state

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// acquireCalls is how many calls for slots a store has under way. What is asked for meanwhile
	// goes into the next one: in a storm of clients a call of its own for each took a thirtieth
	// more CPU of proxy and Redis. Two clients at once do not wait for each other.
	acquireCalls = 2
	// acquireBatch bounds a call, and with that how long it holds Redis.
	acquireBatch = 16
	// acquireArgs is how many arguments the script reads for one session.
	acquireArgs = 14
)

// gathering are requests for slots that wait for a call to end.
type gathering struct {
	mu      sync.Mutex
	calls   int // under way
	waiting []*gathered
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
// others are under way may go to Redis in one call.
func (s *Store) Acquire(ctx context.Context, r Request) (Standing, error) {
	g := &s.gathering
	g.mu.Lock()
	if g.calls < acquireCalls {
		g.calls++
		g.mu.Unlock()
		defer s.acquireNext()
		all, err := s.acquire(ctx, r)
		return all[0], err
	}
	w := &gathered{ctx: ctx, request: r, answered: make(chan struct{})}
	g.waiting = append(g.waiting, w)
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

// acquireNext makes the next call, or leaves its place to a later request.
func (s *Store) acquireNext() {
	g := &s.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), acquireBatch)
	if n == 0 {
		g.calls--
		return
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	go func() {
		defer s.acquireNext()
		ctx, done := patient(batch)
		defer done()
		requests := make([]Request, n)
		for i, w := range batch {
			requests[i] = w.request
		}
		all, err := s.acquire(ctx, requests...)
		for i, w := range batch {
			w.standing, w.err = all[i], err
			close(w.answered)
		}
	}()
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
