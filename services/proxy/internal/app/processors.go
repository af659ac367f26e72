package app

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// pollers is how many event loops to run.
func (r Relay) pollers() int {
	if r.Pollers > 0 {
		return r.Pollers
	}
	return max(1, runtime.NumCPU()/2)
}

const (
	// crowd clients within crowdTime are more than one processor is to lead to
	// their browsers beside its loop.
	crowd     = 20
	crowdTime = 100 * time.Millisecond
	// crowdRest is how long there must have been no such crowd until the proxy
	// does with fewer processors again.
	crowdRest = 5 * time.Second
)

// processors limits on how many processors Go code runs: as many as there are
// event loops, and all of them while clients come in crowds.
//
// While there is another processor, the runtime wakes a thread for it at each event,
// in case that the event makes more than one thing to do; in a proxy with few
// sessions it does not, and the thread goes to sleep again, which was a tenth of
// the CPU. A storm of clients keeps everybody busy anyhow, and with one processor
// fewer is served a fifth slower.
type processors struct {
	few, all int
	set      func(int)

	mu    sync.Mutex
	came  [crowd]time.Time // the last clients
	next  int              // in came
	last  time.Time        // when there was a crowd
	timer *time.Timer      // runs while there are all
}

// newProcessors leaves it alone if GOMAXPROCS is set.
func newProcessors(pollers int) *processors {
	p := &processors{few: pollers, all: runtime.GOMAXPROCS(0), set: func(n int) { runtime.GOMAXPROCS(n) }}
	if os.Getenv("GOMAXPROCS") != "" {
		p.few = p.all
	}
	p.few = min(p.few, p.all)
	if p.few < p.all {
		p.set(p.few)
	}
	return p
}

// client notes that one has come.
func (p *processors) client() {
	if p.few == p.all {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.came[p.next]
	p.came[p.next] = now
	p.next = (p.next + 1) % crowd
	if now.Sub(first) > crowdTime {
		return
	}
	p.last = now
	if p.timer == nil {
		p.timer = time.AfterFunc(crowdRest, p.look)
		p.set(p.all)
	}
}

// look goes back to few when there was no crowd for a while.
func (p *processors) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest := crowdRest - time.Since(p.last); rest > 0 {
		p.timer.Reset(rest)
		return
	}
	p.timer = nil
	p.set(p.few)
}
