package load_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	stormSessions = 8000 // of one round
	stormAtOnce   = 64   // handshakes under way
	stormSlots    = 10_000
	stormFleet    = 1000 // workers of the large fleet
)

// benchStorm measures connecting: sessions that open, each with its assignment
// and its start in Redis, and close at once. HAProxy assigns nothing. Then the
// same in a fleet of many workers.
func benchStorm(t *testing.T) {
	rows := []row{
		{"sessions/s", "%.0f", "≥ 0.5"},
		{"p50 ms until the 101", "%.2f", ""},
		{"p99 ms until the 101", "%.2f", ""},
		{"CPU-s per 1,000 sessions", "%.3f", "≤ 2.5"},
	}
	var ours []figures
	for _, fleet := range []struct {
		title   string
		name    string
		workers int
	}{
		{"Connect storm, one worker registered", "storm", 1},
		{"Connect storm, 1,000 workers registered", "storm-fleet", stormFleet},
	} {
		t.Run(fleet.name, func(t *testing.T) {
			r := newRig(t)
			port := r.standIn(fleet.workers, stormSlots/fleet.workers)
			targets := []target{r.proxy(), r.haproxy(loopback(port))}
			for _, to := range targets {
				storm(t, to, stormSessions/8)
			}
			medians := alternate(t, targets, func(to target) figures { return storm(t, to, stormSessions) })
			table(fleet.title, targets, medians, rows...)
			ours = append(ours, medians[0])
			profile(t, fleet.name, targets[0], func(during time.Duration) {
				for end := time.Now().Add(during); time.Now().Before(end); {
					storm(t, targets[0], stormSessions/8)
				}
			})
		})
	}
	if len(ours) == 2 {
		table("Connect storm, pwdist-proxy alone: 1,000 workers beside one", []target{{name: "1,000 workers"}, {name: "one worker"}},
			[]figures{ours[1], ours[0]}, row{"sessions/s", "%.0f", "≥ 0.9"}, row{"CPU-s per 1,000 sessions", "%.3f", "≤ 1.1"})
	}
}

// storm opens and closes so many sessions.
func storm(tb testing.TB, t target, sessions int) figures {
	tb.Helper()
	before := t.cpu(tb)
	var left atomic.Int64
	left.Store(int64(sessions))
	latency := make([][]time.Duration, stormAtOnce)
	errs := make([]error, stormAtOnce)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range stormAtOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				from := time.Now()
				c, err := connect(t.address)
				latency[i] = append(latency[i], time.Since(from))
				if err == nil {
					err = leave(c)
				}
				errs[i] = err
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		tb.Fatalf("%s: %v", t.name, err)
	}
	t.settle(tb)
	cpu := t.cpu(tb) - before
	sorted := slices.Concat(latency...)
	slices.Sort(sorted)
	return figures{
		"sessions/s":               float64(sessions) / took.Seconds(),
		"p50 ms until the 101":     quantile(sorted, 0.5).Seconds() * 1e3,
		"p99 ms until the 101":     quantile(sorted, 0.99).Seconds() * 1e3,
		"CPU-s per 1,000 sessions": cpu.Seconds() / float64(sessions) * 1e3,
	}
}
