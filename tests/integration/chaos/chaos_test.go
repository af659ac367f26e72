package chaos_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// shortRun is how long make test breaks a pool.
const shortRun = 6 * time.Second

// TestChaos breaks a pool for a few seconds, by another plan each time. With
// CHAOS_DURATION it does so for longer, to a larger pool; with CHAOS_SEED it
// follows the plan of an earlier run.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	s, during := small(), shortRun
	if text := os.Getenv("CHAOS_DURATION"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("CHAOS_DURATION: %v", err)
		}
		s, during = large(), d
	}
	seed := rand.Uint64N(1_000_000)
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		seed = n
	}
	p := newPlan(seed, s, during)
	t.Logf("seed %d:\n%s", seed, p)

	w := newWorld(t, s)
	c := newCrowd(w, seed)
	stock := newStock(w)
	w.play(p, during)
	c.finish()
	w.settle()
	stock.finish(t)
	healed := time.Now()
	last := c.fill((s.workers-1)*s.slots, s.slots+10) // the last worker may be retiring
	filled := time.Now()
	left := w.quiet()
	t.Logf("all slots were taken and given back within %.1fs, and nothing remained %.1fs later",
		filled.Sub(healed).Seconds(), time.Since(filled).Seconds())
	for _, odd := range w.release() {
		t.Error(odd)
	}
	for _, key := range left {
		t.Errorf("I3: %s after everything was healed and nobody was there", key)
	}
	for _, r := range last {
		if r.outcome != granted || r.ending != goodbye {
			t.Errorf("I3: with all slots free: %s", r)
		}
	}
	j := &judge{
		size: s, homes: w.homes, struck: w.struck, records: c.all(), events: w.Snapshot(t).Events,
	}
	const most = 20 // one bug shows in many sessions
	problems := j.verdict()
	for _, problem := range problems[:min(len(problems), most)] {
		t.Error(problem)
	}
	if more := len(problems) - most; more > 0 {
		t.Errorf("… and %d more", more)
	}
	t.Log(tally(j.records, j.events))
	if t.Failed() {
		for _, s := range w.struck {
			t.Logf("%s – %s %s", clock(s.from), clock(s.till), s)
		}
	}
}

// tally says how much has happened.
func tally(records []record, events []event.Event) string {
	counts := map[string]int{}
	for _, r := range records {
		key := string(r.outcome)
		switch r.outcome {
		case granted:
			key += ", " + string(r.ending)
		case refused:
			key += ", " + r.header.Get("x-pwdist-refusal")
		}
		counts[key]++
	}
	text := strconv.Itoa(len(records)) + " clients"
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		text += "; " + strconv.Itoa(counts[key]) + " " + key
	}
	lost := 0
	for _, e := range events {
		if e.Type == event.WorkerLost && e.Worker.Reason == string(event.ReasonLeaseExpired) {
			lost++
		}
	}
	return fmt.Sprintf("%s; %d events since Redis lost its data for the last time, among them %d of workers whose lease ran out",
		text, len(events), lost)
}
