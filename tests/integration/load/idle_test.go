package load_test

import (
	"fmt"
	"testing"
	"time"
)

// idleTime is how long idle CPU is watched: two ping intervals.
const idleTime = 60 * time.Second

// benchIdle measures what sessions cost that say nothing: the growth of the
// process from its start, divided by their number, and its CPU.
func benchIdle(t *testing.T) {
	counts := []int{2000, 8000}
	var rows []row
	for _, n := range counts {
		wanted := ""
		if n == counts[len(counts)-1] {
			wanted = "≤ 0.9"
		}
		rows = append(rows, row{memoryAt(n), "%.2f", wanted}, row{cpuAt(n), "%.2f", ""})
	}
	r := newRig(t)
	port := r.standIn(1, 10_000)
	targets := []target{r.proxy(), r.haproxy(loopback(port))}
	all := []figures{{}, {}}
	for i, to := range targets {
		to.settle(t)
		empty := to.pss(t)
		var leave []func()
		there := 0
		for _, n := range counts {
			leave = append(leave, attend(t, connectAll(t, to.address, n-there)))
			there = n
			to.settle(t)
			before := to.cpu(t)
			time.Sleep(idleTime)
			all[i][cpuAt(n)] = (to.cpu(t) - before).Seconds() / idleTime.Seconds() * 100
			all[i][memoryAt(n)] = (calm(t, to) - empty) / float64(n) / 1024
		}
		heap(t, "idle", to)
		for _, they := range leave {
			they()
		}
	}
	table("Idle sessions (CPU target: under 1 % of a core)", targets, all, rows...)
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
