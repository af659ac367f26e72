package state_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// counted is whether Redis runs under callgrind, which counts the instructions
// that a program runs outside of the kernel. They are the same on a fast machine
// and on a slow or busy one.
var counted = os.Getenv("PWDIST_BENCH_INSTRUCTIONS") != ""

// underCallgrind returns the command that runs another one so that its instructions
// can be counted. Nothing is counted before it is asked for.
func underCallgrind(dir string) []string {
	return []string{"valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=" + filepath.Join(dir, "out")}
}

// TestCostInInstructions prints what one session costs Redis, acquire, start
// and finish, as TestCost does, in thousands of instructions.
func TestCostInInstructions(t *testing.T) {
	if !counted {
		t.Skip("a measurement: make bench-state")
	}
	const cycles, waiting = 200, 20_000
	var table strings.Builder
	table.WriteString("| workers | flavours | one version | any version | half busy | full, 20,000 wait |\n|---:|---:|---:|---:|---:|---:|\n")
	for _, workers := range []int{10, 1000, 10_000} {
		for _, flavours := range []int{1, 50} {
			if 10*flavours > workers {
				continue
			}
			func() {
				p := openPool(t, conn, options(func(o *state.Options) { o.ProcessLease, o.StartLease = 24*time.Hour, 24*time.Hour }))
				defer p.wipe()
				f := newFleet(p, workers, flavours, 4, chromium("1.0"))
				fmt.Fprintf(&table, "| %d | %d | %.0f |", workers, flavours, f.instructions(cycles, false))
				f.demand = chromium("")
				fmt.Fprintf(&table, " %.0f |", f.instructions(cycles, false))
				atOnce(2*workers, func(int) { f.come() })
				fmt.Fprintf(&table, " %.0f |", f.instructions(cycles, false))
				atOnce(2*workers+waiting, func(int) { f.come() })
				fmt.Fprintf(&table, " %.0f |\n", f.instructions(cycles, true))
			}()
		}
	}
	set := instructions(t, func() {
		for range cycles {
			require.NoError(t, conn.Do(ctx, conn.B().Set().Key("a").Value("b").Build()).Error())
		}
	}) / cycles
	t.Logf("Redis' instructions for one session, thousands; a SET takes %.1f\n%s", set/1000, table.String())
}

// instructions returns how many thousands each of n cycles takes.
func (f *fleet) instructions(n int, queue bool) float64 {
	for range 50 {
		f.cycle(queue)
	}
	return instructions(f.t, func() {
		for range n {
			f.cycle(queue)
		}
	}) / float64(n) / 1000
}

var totals = regexp.MustCompile(`(?m)^totals: (\d+)$`)

// instructions counts what Redis runs while f does.
func instructions(t fataler, f func()) float64 {
	t.Helper()
	control := func(args ...string) {
		out, err := exec.Command("callgrind_control", append(args, strconv.Itoa(serverPID))...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	dir := filepath.Dir(server)
	control("--zero")
	control("--instr=on")
	f()
	control("--instr=off")
	control("--dump")
	files, err := filepath.Glob(filepath.Join(dir, "out.*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.NoError(t, os.Remove(files[0]))
	m := totals.FindSubmatch(text)
	require.NotNil(t, m)
	n, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	return n
}
