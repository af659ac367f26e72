package harness

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Service is a proxy or a worker of a pool, on ports of its own.
type Service struct {
	Name    string
	Address string // host:port that it serves at
	Admin   string // host:port of its admin server
	Reached string // host:port at which others are told to reach it, which for a proxy is its Address

	pool    *Pool
	command Command

	mu        sync.Mutex
	now       *Process
	all       []*Process
	err       error
	supervise bool
	over      bool
	ended     sync.WaitGroup
}

// Process is the one that runs now, or ran last.
func (s *Service) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Boots counts how often it was started.
func (s *Service) Boots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Start runs the program, again if it ran before, and does not wait for it.
func (s *Service) Start(tb testing.TB) {
	tb.Helper()
	if err := s.boot(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Service) boot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	p, err := start(s.pool.dir, s.command)
	if err != nil {
		s.err = err
		return err
	}
	s.now, s.all = p, append(s.all, p)
	if s.supervise {
		s.ended.Go(func() {
			<-p.Done()
			_ = s.boot() // kept in s.err
		})
	}
	return nil
}

// AwaitReady returns when the service says that it serves.
func (s *Service) AwaitReady(tb testing.TB) {
	tb.Helper()
	ok := holds(Patience, func() bool {
		return s.Ready() || !s.supervise && !s.Process().Running()
	})
	if !ok || !s.Ready() {
		tb.Fatalf("%s is not ready; it logged:\n%s", s.Name, s.Process().Tail())
	}
}

// Ready asks the service whether it serves.
func (s *Service) Ready() bool {
	status, _ := s.Get("/readyz")
	return status == http.StatusOK
}

// live tells whether the program is far enough to answer, and to take signals.
func (s *Service) live() bool {
	status, _ := s.Get("/healthz")
	return status == http.StatusOK
}

// Get reads a page of the admin server; the status is 0 when there was no answer.
func (s *Service) Get(path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// Kill ends the program with SIGKILL and returns when it has ended.
func (s *Service) Kill() { s.Process().Kill() }

// finish stops supervision and the program: by SIGTERM, which must end it with
// status 0, or by SIGKILL.
func (s *Service) finish(tb testing.TB, kill bool) {
	s.mu.Lock()
	s.over = true
	now, err := s.now, s.err
	s.mu.Unlock()
	if err != nil {
		tb.Error(err)
	}
	if kill {
		now.Kill()
	} else if !holds(Patience, func() bool { return s.live() || !now.Running() }) {
		tb.Errorf("%s does not come up", s.Name)
		now.Kill()
	} else if err := now.Terminate(Patience); err != nil {
		tb.Error(err)
		now.Kill()
	}
	s.ended.Wait()
}

func (s *Service) report(tb testing.TB) {
	for _, p := range s.all {
		for _, fault := range p.faults() {
			tb.Errorf("%s (pid %d) printed: %s", s.Name, p.PID(), fault)
		}
	}
	for _, p := range s.all {
		p.showOnFailure(tb)
	}
}
