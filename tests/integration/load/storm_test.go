package load_test

import (
	"errors"
	"fmt"
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
// and its start in Redis, and close at once. HAProxy assigns nothing. The same in a
// fleet of many workers, turn and turn about, since a machine's speed changes.
func benchStorm(t *testing.T) {
	rows := []row{
		{"sessions/s", "%.0f", "≥ 0.5"},
		{"p50 ms until the 101", "%.2f", ""},
		{"p99 ms until the 101", "%.2f", ""},
		{"CPU-s per 1,000 sessions", "%.3f", "≤ 2.5"},
		// Where the rest of the two cores goes.
		{"– Redis", "%.3f", ""},
		{"– stand-in", "%.3f", ""},
		{"– load generator", "%.3f", ""},
	}
	fleets := []stormed{
		{name: "storm", title: "Connect storm, one worker registered", workers: 1},
		{name: "storm-fleet", title: "Connect storm, 1,000 workers registered", workers: stormFleet},
		// Of 100 workers as of 1,000, each has one session at a time, and reports each end by itself.
		{name: "storm-100", title: "Connect storm, 100 workers registered", workers: 100},
	}
	for round := range 2 * rounds(t) {
		for i := range fleets {
			f := &fleets[(round+i)%len(fleets)]
			t.Run(fmt.Sprintf("%s-%d", f.name, round), func(t *testing.T) { f.round(t, round == 0) })
		}
	}
	if t.Failed() || slices.ContainsFunc(fleets, func(f stormed) bool { return f.seen == nil }) {
		return // there is nothing to compare when -run names one fleet alone
	}
	var ours []series
	for _, f := range fleets {
		table(f.title, f.targets, []figures{f.seen[0].medians(), f.seen[1].medians()}, rows...)
		ours = append(ours, f.seen[0])
	}
	for _, i := range []int{0, 2} {
		beside := fmt.Sprint(fleets[i].workers)
		table("Connect storm, pwdist-proxy alone: 1,000 workers beside "+beside, []target{{name: "1,000 workers"}, {name: beside}},
			[]figures{ours[1].medians(), ours[i].medians()}, row{"sessions/s", "%.0f", "≥ 0.9"}, row{"CPU-s per 1,000 sessions", "%.3f", "≤ 1.1"})
		low, high := interval(ours[1]["sessions/s"], ours[i]["sessions/s"])
		fmt.Printf("The ratio of sessions/s is between %.2f and %.2f (95 %% bootstrap interval, %d turns each).\n", low, high, 2*rounds(t))
	}
}

// stormed is a size of fleet and what was seen of it.
type stormed struct {
	name, title string
	workers     int
	targets     []target
	seen        []series // by target
}

// round measures one turn, with a pool of its own.
func (f *stormed) round(t *testing.T, first bool) {
	r := newRig(t)
	port := r.standIn(f.workers, stormSlots/f.workers)
	f.targets = []target{r.proxy(), r.haproxy(loopback(port))}
	if first {
		f.seen = []series{{}, {}}
	}
	for i, to := range f.targets {
		storm(t, to, stormSessions/8) // warms up
		before := r.account(t)
		got := storm(t, to, stormSessions)
		for name, used := range r.account(t) {
			got["– "+name] = (used - before[name]).Seconds() / stormSessions * 1e3
		}
		f.seen[i].add(got)
	}
	if first {
		profile(t, f.name, f.targets[0], func(during time.Duration) {
			for end := time.Now().Add(during); time.Now().Before(end); {
				storm(t, f.targets[0], 4*stormSessions)
			}
		})
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
