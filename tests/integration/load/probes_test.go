package load_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// TestProbes sees that the kernel finds peers that are gone where nobody pings them,
// and that it leaves workers alone that are pinged.
func TestProbes(t *testing.T) {
	const probed, atRest = "02", "00" // the kernel's names of its timers
	for ping, want := range map[string]string{"0": probed, "30s": atRest} {
		t.Run("relay.ping="+ping, func(t *testing.T) {
			r := newRig(t)
			port := r.standIn(1, 1)
			conns := connectAll(t, r.proxy("--relay.ping="+ping).address, 1)
			harness.Await(t, "the timer of the connection to the worker is "+want, func() bool { return timerTo(t, port) == want })
			leaveAll(t, conns)
		})
	}
}

// timerTo is the timer that runs for the established connection to a port of this
// machine.
func timerTo(t *testing.T, port int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const remote, state, timer = 2, 3, 5
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasSuffix(f[remote], fmt.Sprintf(":%04X", port)) && f[state] == "01" {
			name, _, _ := strings.Cut(f[timer], ":")
			return name
		}
	}
	return ""
}
