package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// CPU is the CPU time that the process has used, to 10 ms.
func (p *Process) CPU(tb testing.TB) time.Duration {
	tb.Helper()
	// The unit in /proc, the same on every Linux that Go runs on.
	const tick = 10 * time.Millisecond
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		tb.Fatal(err)
	}
	// The name in parentheses may hold spaces; state is the first field behind it.
	_, rest, _ := strings.Cut(string(b), ") ")
	var ticks int64
	for _, f := range strings.Fields(rest)[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}
