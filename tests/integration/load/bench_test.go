package load_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What `make bench` sets. Without BENCH nothing is measured.
const (
	variableBench   = "BENCH"         // names of the measurements, separated by commas
	variableRounds  = "BENCH_ROUNDS"  // how often each side is measured, alternating
	variableSeconds = "BENCH_SECONDS" // how long a round lasts
	variableProfile = "PROFILE"       // a folder for CPU profiles
)

// TestBench runs the measurements that BENCH names, in order.
func TestBench(t *testing.T) {
	asked := os.Getenv(variableBench)
	if asked == "" {
		t.Skip("measures only by make bench")
	}
	names := strings.Split(asked, ",")
	if asked == "all" {
		names = order
	}
	for _, name := range names {
		run := measurements[name]
		if run == nil {
			t.Fatalf("there is no measurement %q; there are %s", name, strings.Join(order, ", "))
		}
		t.Run(name, func(t *testing.T) { run(t) })
	}
}

// The measurements, and the order in which all are done.
var (
	measurements = map[string]func(*testing.T){
		"small": benchSmall, "bulk": benchBulk, "idle": benchIdle, "storm": benchStorm, "gate": benchGate,
		"e2e": benchE2E, "connect": benchConnect, "steady": benchSteady, "lonely": benchLonely,
	}
	order = []string{"small", "lonely", "bulk", "idle", "storm", "gate", "steady", "connect", "e2e"}
)

// number reads a whole number from the environment.
func number(tb testing.TB, variable string, otherwise int) int {
	tb.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("%s must be a whole number above 0, not %q", variable, text)
	}
	return n
}

func rounds(tb testing.TB) int { return number(tb, variableRounds, 3) }

func roundTime(tb testing.TB) time.Duration {
	return time.Duration(number(tb, variableSeconds, 4)) * time.Second
}

// figures are measured values by their names.
type figures map[string]float64

// series are the figures of several rounds, in order.
type series map[string][]float64

func (s series) add(round figures) {
	for name, v := range round {
		s[name] = append(s[name], v)
	}
}

func (s series) medians() figures {
	f := figures{}
	for name, values := range s {
		f[name] = median(values)
	}
	return f
}

// alternate measures A, B, A, B, … and returns the medians of each.
func alternate(tb testing.TB, targets []target, measure func(target) figures) []figures {
	tb.Helper()
	return takeTurns(rounds(tb), len(targets), func(i int) figures { return measure(targets[i]) })
}

// takeTurns does so with what is known by its number only.
func takeTurns(rounds, sides int, measure func(side int) figures) []figures {
	all := make([]series, sides)
	for round := range rounds {
		for i := range all {
			if round == 0 {
				all[i] = series{}
			}
			all[i].add(measure(i))
		}
	}
	medians := make([]figures, sides)
	for i := range all {
		medians[i] = all[i].medians()
	}
	return medians
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// interval tells how far the ratio of a's median to b's may be off (95 %, bootstrap).
// What has the same index was measured one after the other, so it is drawn together.
func interval(a, b []float64) (low, high float64) {
	const draws = 10_000
	random := rand.New(rand.NewPCG(1, 2)) // the same values give the same interval
	ratios := make([]float64, draws)
	inA, inB := make([]float64, len(a)), make([]float64, len(a))
	for i := range ratios {
		for k := range a {
			j := random.IntN(len(a))
			inA[k], inB[k] = a[j], b[j]
		}
		ratios[i] = median(inA) / median(inB)
	}
	slices.Sort(ratios)
	return ratios[draws/40], ratios[draws-1-draws/40]
}

// row is a line of a table: a figure of ours beside the other's.
type row struct {
	figure string
	format string
	target string // for the ratio, as text
}

// table prints what was measured, ours first, as Markdown.
func table(title string, targets []target, medians []figures, rows ...row) {
	fmt.Printf("\n### %s\n\n| | %s | %s | ratio | target |\n|---|---|---|---|---|\n", title, targets[0].name, targets[1].name)
	for _, r := range rows {
		a, b := medians[0][r.figure], medians[1][r.figure]
		ratio := "–" // of what was too little to be seen
		if b > 0 {
			ratio = fmt.Sprintf("%.2f", a/b)
		}
		fmt.Printf("| %s | "+r.format+" | "+r.format+" | %s | %s |\n", r.figure, a, b, ratio, r.target)
	}
	fmt.Println()
}

// profile saves a CPU profile of one of our programs while a load runs, when
// PROFILE names a folder for it.
func profile(tb testing.TB, name string, t target, load func(during time.Duration)) {
	tb.Helper()
	dir := os.Getenv(variableProfile)
	if dir == "" {
		return
	}
	const seconds = 5
	done := make(chan error, 1)
	go func() {
		b, err := t.get("/debug/pprof/profile?seconds=" + strconv.Itoa(seconds))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".pprof"), b, 0o600)
		}
		done <- err
	}()
	load(seconds * time.Second)
	if err := <-done; err != nil {
		tb.Error(err)
	}
}

// heap saves a heap profile of one of our programs under the same condition.
func heap(tb testing.TB, name string, t target) {
	tb.Helper()
	dir := os.Getenv(variableProfile)
	if dir == "" || t.admin == "" {
		return
	}
	b, err := t.get("/debug/pprof/heap")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+"-heap.pprof"), b, 0o600)
	}
	if err != nil {
		tb.Error(err)
	}
}
