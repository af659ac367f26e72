package chaos_test

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// unit is a proxy or a worker with a supervisor that starts it again whenever
// it has ended.
type unit struct {
	*harness.Service

	tb    testing.TB
	away  sync.Mutex // held while it must not be started
	mu    sync.Mutex
	ours  *harness.Process // the one that we ended
	odd   []string         // ends that nobody asked for
	over  chan struct{}
	loops sync.WaitGroup
}

func supervise(tb testing.TB, s *harness.Service, mayRetire bool) *unit {
	tb.Helper()
	u := &unit{Service: s, tb: tb, over: make(chan struct{})}
	u.loops.Go(func() {
		for {
			p := u.Process()
			select {
			case <-p.Done():
			case <-u.over:
				return
			}
			u.judge(p, mayRetire)
			u.away.Lock()
			u.Start(tb)
			u.away.Unlock()
		}
	})
	return u
}

// judge looks at the end of a process.
func (u *unit) judge(p *harness.Process, mayRetire bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	code := p.ExitCode(u.tb, harness.Patience)
	switch {
	case p == u.ours || mayRetire && code == 0:
	default:
		u.odd = append(u.odd, u.Name+" has ended by itself; it printed:\n"+p.Tail())
	}
}

// release ends the supervision; the program goes on.
func (u *unit) release() {
	close(u.over)
	u.loops.Wait()
}

// down marks the end of the process that runs as ours, and keeps the unit down
// until the returned function is called.
func (u *unit) down() (p *harness.Process, up func()) {
	u.away.Lock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ours = u.Process()
	return u.ours, u.away.Unlock
}

// terminateNow sends SIGTERM and returns when the program has ended. One that
// is still starting may not catch it.
func (u *unit) terminateNow() {
	p, up := u.down()
	defer up()
	p.Signal(u.tb, syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(harness.Patience):
		u.mu.Lock()
		u.odd = append(u.odd, u.Name+" does not end after SIGTERM")
		u.mu.Unlock()
		p.Kill()
	}
}

// browser is the process of the worker's browser, or what stands in for it.
func (u *unit) browser() (harness.Proc, bool) {
	self, _ := os.Executable()
	for _, p := range u.Process().Descendants() {
		if strings.HasPrefix(p.Command, self) || strings.Contains(p.Command, "--remote-debugging-pipe") && !strings.Contains(p.Command, "--type=") {
			return p, true
		}
	}
	return harness.Proc{}, false
}
