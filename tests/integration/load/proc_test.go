package load_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tick is the unit of CPU time in /proc, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the CPU time that a target's process has used.
func (t target) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	return cpuOf(tb, t.process.PID())
}

func cpuOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	// The name in parentheses may hold spaces; state is the first field behind it.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// pss is the memory of a target's process in bytes, where a page that others
// share counts by its share.
func (t target) pss(tb testing.TB) float64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", t.process.PID()))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb * 1024
		}
	}
	tb.Fatal("smaps_rollup has no Pss")
	return 0
}

// settle waits until a target has used no CPU to speak of for a while, so that
// what a load left behind is done and counted.
func (t target) settle(tb testing.TB) {
	tb.Helper()
	const look, calm, patience = 100 * time.Millisecond, 4, 100
	last, quiet := t.cpu(tb), 0
	for range patience {
		time.Sleep(look)
		now := t.cpu(tb)
		if now-last <= tick {
			quiet++
		} else {
			quiet = 0
		}
		if quiet == calm {
			return
		}
		last = now
	}
	tb.Logf("%s is still busy", t.name)
}

// files is the number of descriptors that a target's process has open.
func (t target) files(tb testing.TB) int {
	tb.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.process.PID()))
	if err != nil {
		tb.Error(err)
	}
	return len(list)
}

// account is the CPU time that each process of a rig has used so far, by name, and the load
// generator's, which is this process.
func (r *rig) account(tb testing.TB) map[string]time.Duration {
	tb.Helper()
	used := map[string]time.Duration{"load generator": cpuOf(tb, os.Getpid())}
	for _, p := range r.started {
		used[p.Name] = cpuOf(tb, p.PID())
	}
	return used
}
