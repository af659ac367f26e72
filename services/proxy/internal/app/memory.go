package app

import (
	"runtime/debug"
	"sync"
	"time"
)

const (
	// memoryRest is how long no session must have begun before memory is given
	// back, as the next storm would want it again.
	memoryRest = 20 * time.Second
	// memoryWorth is after how many sessions there is enough to give back.
	memoryWorth = 500
)

// memory gives back to the system what handshakes took, some tens of kilobytes
// each for a moment, once a storm of them is over. The runtime by itself keeps
// what the next collection may need, which for sessions that are merely held
// is as much again as they take.
type memory struct {
	rest    time.Duration
	release func()

	mu     sync.Mutex
	timer  *time.Timer // runs
	began  int         // sessions since the last release
	before int         // began when the timer was set
}

func newMemory() *memory { return &memory{rest: memoryRest, release: debug.FreeOSMemory} }

// session notes that one has begun.
func (m *memory) session() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began++
	if m.timer == nil && m.began >= memoryWorth {
		m.before = m.began
		m.timer = time.AfterFunc(m.rest, m.look)
	}
}

// look releases if no session has begun since the timer was set.
func (m *memory) look() {
	m.mu.Lock()
	if m.began != m.before {
		m.before = m.began
		m.timer.Reset(m.rest)
		m.mu.Unlock()
		return
	}
	m.began, m.timer = 0, nil
	m.mu.Unlock()
	m.release()
}
