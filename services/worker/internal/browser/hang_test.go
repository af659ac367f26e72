package browser

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/probe"
)

// probing runs a supervisor that probes often and counts the probes.
func probing(t *testing.T, timeout time.Duration) (s *supervised, good *atomic.Int64) {
	t.Helper()
	good = new(atomic.Int64)
	s = supervise(t, func(o *Options) {
		o.ProbeInterval, o.ProbeTimeout = 200*time.Millisecond, timeout
		o.Probed = func(_ time.Duration, err error) {
			if err == nil {
				good.Add(1)
			}
		}
	})
	return s, good
}

func (s *supervised) await(what string, ok func() bool) {
	s.t.Helper()
	require.Eventually(s.t, ok, patience, 10*time.Millisecond, what)
}

// Every process without which a session cannot work is stopped once. Each time
// the browser is found to hang, all of it goes, and a fresh one comes.
func TestABrowserThatHangsIsKilledAndRestarted(t *testing.T) {
	s, good := probing(t, time.Second)
	up := s.next()
	for generation, c := range []struct{ name, process, step string }{
		{"the browser", "/usr/lib/chromium/chromium-headless-shell\x00--disable", "open a "},
		{"the server", "launch-server", "the Playwright server"},
		{"the process that draws", "--type=gpu-process", "draw the page"},
		{"the process that has the network", "--utility-sub-type=network", "read the cookies"},
	} {
		require.True(t, up.Up)
		before := good.Load()
		s.await("a probe of "+c.name, func() bool { return good.Load() > before })
		require.NoError(t, syscall.Kill(s.pid(c.process), syscall.SIGSTOP))
		down := s.next()
		require.False(t, down.Up)
		require.True(t, down.Hung, c.name)
		require.Contains(t, down.Why, c.step, c.name)
		require.Contains(t, down.Why, "no answer in time")
		require.True(t, s.Hung(generation+1))
		up = s.next()
		require.Empty(t, usersOf(filepath.Dir(down.Socket)), "a stopped process is killed as well")
		require.NoDirExists(t, filepath.Dir(down.Socket))
		require.Equal(t, generation+1, s.Hangs())
	}
}

// A process that was stopped does not see that its browser has gone, and
// nothing in its environment tells whose it is.
func TestWhatIsStoppedGoesWithItsBrowser(t *testing.T) {
	s := supervise(t, func(*Options) {})
	first := s.next()
	require.NoError(t, probe.Page(t.Context(), first.target())) // starts what is not there yet
	drawing := s.pid("--type=gpu-process")
	require.NoError(t, syscall.Kill(drawing, syscall.SIGSTOP))
	require.NoError(t, syscall.Kill(s.pid("/usr/lib/chromium/chromium-headless-shell\x00--disable"), syscall.SIGKILL))
	require.False(t, s.next().Up)
	require.True(t, s.next().Up)
	require.Empty(t, usersOf(filepath.Dir(first.Socket)))
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(drawing), "stat"))
	require.True(t, err != nil || strings.Contains(string(stat), ") Z "), "%s", stat)
}

// A page that computes for ever, and more of them than there are CPUs, make a
// browser slow and not hung.
func TestABusyBrowserIsNotKilled(t *testing.T) {
	s, good := probing(t, 2*time.Second)
	up := s.next()
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	for range 3 * runtime.NumCPU() {
		hold, err := probe.Busy(ctx, up.target())
		require.NoError(t, err)
		defer hold()
	}
	before := good.Load()
	s.await("probes come through beside pages that compute", func() bool { return good.Load() >= before+5 })
	require.Zero(t, s.Hangs())
	require.Equal(t, 1, s.Starts())
}

// What a probe costs, in CPU time of the server and the browser.
func BenchmarkProbe(b *testing.B) {
	states := make(chan State, 10)
	s, err := New(Options{
		Type: Chromium, Headless: true, StartTimeout: patience, Node: "node", PlaywrightDir: "../../playwright",
		TempDir: b.TempDir(), Environ: os.Environ(), Log: zap.NewNop(),
	}, func(st State) { states <- st })
	require.NoError(b, err)
	require.NoError(b, s.Start(b.Context()))
	defer func() { _ = s.Stop(context.Background()) }()
	up := <-states
	for range 5 {
		require.NoError(b, probe.Page(b.Context(), up.target()))
	}
	before := cpu(b, s.scratch.root)
	for b.Loop() {
		require.NoError(b, probe.Page(b.Context(), up.target()))
	}
	spent := cpu(b, s.scratch.root) - before
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// cpu sums up what the processes have used, and what those had that they waited
// for.
func cpu(tb testing.TB, dir string) time.Duration {
	tb.Helper()
	var ticks int64
	for _, pid := range usersOf(dir) {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue
		}
		var of [4]int64
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		_, err = fmt.Sscan(strings.Join(fields[11:15], " "), &of[0], &of[1], &of[2], &of[3])
		require.NoError(tb, err)
		ticks += of[0] + of[1] + of[2] + of[3]
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
