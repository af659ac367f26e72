package telemetry

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Check is the state of one thing that a program needs in order to serve.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Why says what is wrong; empty when OK.
	Why string `json:"why,omitempty"`
	// Since is when OK last changed.
	Since time.Time `json:"since"`
}

// Health is the readiness of a process: ready while every check is. That it
// is alive needs no check, because only a live process answers.
type Health struct {
	mu     sync.Mutex
	checks map[string]Check
}

// NewHealth makes a Health with checks that wait for their first SetReady, so
// that a process is not ready before all its parts are.
func NewHealth(names ...string) *Health {
	h := &Health{checks: make(map[string]Check, len(names))}
	for _, name := range names {
		h.SetReady(name, false, "starting")
	}
	return h
}

// SetReady sets the state of a check, which is made if it is new. why is shown
// while it is not ok.
func (h *Health) SetReady(name string, ok bool, why string) {
	if ok {
		why = ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, known := h.checks[name]
	if !known || c.OK != ok {
		c.Since = time.Now()
	}
	c.Name, c.OK, c.Why = name, ok, why
	h.checks[name] = c
}

// Ready reports whether every check is ok, and all checks by name.
func (h *Health) Ready() (bool, []Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ready := true
	checks := make([]Check, 0, len(h.checks))
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		checks = append(checks, h.checks[name])
		ready = ready && h.checks[name].OK
	}
	return ready, checks
}
