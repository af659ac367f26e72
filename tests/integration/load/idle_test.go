package load_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

const (
	// idleTime is how long idle CPU is watched: two ping intervals.
	idleTime = 60 * time.Second
	// idleRounds are fewer than those of others, since one takes minutes.
	idleRounds = 2
)

// benchIdle measures what sessions cost that say nothing: the growth of the
// process from its start, divided by their number, and its CPU. A process keeps
// what it once had, so each turn has a fresh one.
func benchIdle(t *testing.T) {
	const few, many = 2000, 8000
	r := newRig(t)
	port := r.standIn(1, 10_000)
	targets := make([]target, 2)
	medians := takeTurns(number(t, variableRounds, idleRounds), len(targets), func(side int) figures {
		if side == 0 {
			targets[side] = r.proxy()
		} else {
			targets[side] = r.haproxy(loopback(port))
		}
		got := idle(t, targets[side], few, many, idleTime)
		t.Logf("%s: %v", targets[side].name, got)
		if err := targets[side].process.Terminate(harness.Patience); err != nil && side == 0 {
			t.Error(err)
		}
		return got
	})
	table("Idle sessions (CPU target: under 1 % of a core)", targets, medians,
		row{memoryAt(few), "%.2f", ""}, row{memoryAt(many), "%.2f", "≤ 0.9"}, row{cpuAt(many), "%.2f", ""})
}

// idle measures a target that has just started: its memory with few sessions,
// and memory and CPU with many, which are watched for a time.
func idle(tb testing.TB, to target, few, many int, watched time.Duration) figures {
	tb.Helper()
	to.settle(tb)
	empty := to.pss(tb)
	each := func(n int) float64 { return (calm(tb, to) - empty) / float64(n) / 1024 }
	got := figures{}

	leave := attend(tb, connectAll(tb, to.address, few))
	defer leave()
	got[memoryAt(few)] = each(few)

	leaveToo := attend(tb, connectAll(tb, to.address, many-few))
	defer leaveToo()
	to.settle(tb)
	before := to.cpu(tb)
	time.Sleep(watched)
	got[cpuAt(many)] = (to.cpu(tb) - before).Seconds() / watched.Seconds() * 100
	got[memoryAt(many)] = each(many)
	heap(tb, "idle", to)
	return got
}

func memoryAt(n int) string { return fmt.Sprintf("KiB per session at %d", n) }
func cpuAt(n int) string    { return fmt.Sprintf("idle CPU %% of a core at %d", n) }

// calm returns the memory of a target when it has stopped to change. Our
// programs are asked to collect their garbage first, which they would do by
// themselves two minutes later.
func calm(tb testing.TB, t target) float64 {
	tb.Helper()
	t.settle(tb)
	if t.admin != "" {
		for range 2 { // what has a finalizer goes in the second
			if _, err := t.get("/debug/pprof/heap?gc=1"); err != nil {
				tb.Fatal(err)
			}
		}
	}
	const look, patience = time.Second, 45
	last, same := t.pss(tb), 0
	for range patience {
		time.Sleep(look)
		now := t.pss(tb)
		if change := now/last - 1; change < 0.002 && change > -0.002 {
			same++
		} else {
			same = 0
		}
		last = now
		if same == 3 {
			break
		}
	}
	return last
}
