package chaos_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// stock is stock Playwright clients, one for each proxy, that open a page in a
// real browser again and again, where the pool has one.
type stock struct {
	w       *world
	stop    chan struct{}
	clients sync.WaitGroup

	visits, fine atomic.Int64
}

func newStock(w *world) *stock {
	s := &stock{w: w, stop: make(chan struct{})}
	for _, p := range w.proxies[:min(w.size.real, 1)*len(w.proxies)] {
		s.clients.Go(func() {
			for {
				s.visits.Add(1)
				if s.visit(p) == nil {
					s.fine.Add(1)
				}
				rest := time.NewTimer(200 * time.Millisecond)
				select {
				case <-s.stop:
					rest.Stop()
					return
				case <-rest.C:
				}
			}
		})
	}
	return s
}

// visit may fail, but it ends, and never with another page.
func (s *stock) visit(p *unit) error {
	got, err := harness.Visit(s.w.tb, harness.URL(p.Service, ""), "http://example.com/")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s.w.tb.Errorf("I11: a stock client over %s gets neither an answer nor an end", p.Name)
	case err == nil && got != harness.ExampleTitle:
		s.w.tb.Errorf("I8: a stock client over %s reads the title %q", p.Name, got)
	}
	return err
}

// finish waits for the clients, and has each come once more, which must go well.
func (s *stock) finish(t *testing.T) {
	t.Helper()
	close(s.stop)
	s.clients.Wait()
	if s.w.size.real == 0 {
		return
	}
	for _, p := range s.w.proxies {
		if err := s.visit(p); err != nil {
			t.Errorf("I3: a stock client over %s after everything was healed: %v", p.Name, err)
		}
	}
	t.Logf("stock clients: %d of %d visits went well", s.fine.Load(), s.visits.Load())
}
