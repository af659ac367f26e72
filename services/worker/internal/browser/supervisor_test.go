package browser

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

// patience is what a browser may take on a busy machine.
const patience = 60 * time.Second

type supervised struct {
	*Supervisor
	t      *testing.T
	states chan State
	base   string
}

// supervise runs a supervisor with scratch files of its own and checks, when
// the test is over, that nothing of it is left.
func supervise(t *testing.T, change func(*Options)) *supervised {
	t.Helper()
	base := t.TempDir()
	o := Options{
		Type: Chromium, Headless: true, StartTimeout: patience, Node: "node", PlaywrightDir: "../../playwright",
		TempDir: base, Environ: append(os.Environ(), "PWDIST_REDIS__URL=redis://:secret@nowhere"), Log: zaptest.NewLogger(t),
	}
	change(&o)
	states := make(chan State, 100)
	s, err := New(o, func(st State) { states <- st })
	require.NoError(t, err)
	require.NoError(t, s.Start(context.Background()))
	r := &supervised{Supervisor: s, t: t, states: states, base: s.scratch.root}
	t.Cleanup(func() {
		require.NoError(t, s.Stop(context.Background()))
		require.Empty(t, usersOf(r.base))
		require.NoDirExists(t, r.base)
		goleak.VerifyNone(t)
	})
	return r
}

func (s *supervised) next() State {
	s.t.Helper()
	select {
	case st := <-s.states:
		return st
	case <-time.After(patience):
		s.t.Fatal("the browser changes nothing")
		panic("unreachable")
	}
}

// pid finds a process of the running server by a part of its command line.
func (s *supervised) pid(part string) int {
	s.t.Helper()
	for _, pid := range usersOf(s.base) {
		cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && strings.Contains(string(cmdline), part) {
			return pid
		}
	}
	s.t.Fatalf("no process %q", part)
	return 0
}

func TestTheBrowserIsRestartedHoweverItEnds(t *testing.T) {
	s := supervise(t, func(*Options) {})
	first := s.next()
	require.True(t, first.Up)
	require.Equal(t, 1, first.Generation)
	require.Regexp(t, `^\d+\.\d+\.\d+\.\d+$`, first.BrowserVersion)
	require.NoFileExists(t, filepath.Join(filepath.Dir(first.Socket), configName))
	e, ok := s.Current()
	require.True(t, ok)
	require.Equal(t, first.Endpoint, e)
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.pid("launch-server")), "environ"))
	require.NoError(t, err)
	require.NotContains(t, string(environ), "secret")

	over := s.Over(1)
	require.NoError(t, syscall.Kill(s.pid("/usr/lib/chromium/chromium-headless-shell\x00--disable"), syscall.SIGKILL))
	down := s.next()
	require.False(t, down.Up)
	require.Equal(t, "the browser ended, and with it the Playwright server", down.Why)
	<-over
	_, ok = s.Current()
	require.False(t, ok)

	second := s.next()
	require.True(t, second.Up)
	require.Equal(t, 2, second.Generation)
	require.NotEqual(t, first.Path, second.Path)
	require.NoDirExists(t, filepath.Dir(first.Socket))
	require.Equal(t, 2, s.Starts())

	require.NoError(t, syscall.Kill(s.pid("launch-server"), syscall.SIGKILL))
	down = s.next()
	require.Equal(t, "the Playwright server ended: signal: killed", down.Why)
	require.True(t, s.next().Up)
	require.Empty(t, usersOf(filepath.Dir(second.Socket)), "the old browser is gone before the new one is up")
}

func TestABrowserThatDoesNotStartIsTriedAgain(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "browser")
	write(t, bad, "#!/bin/sh\necho 'error while loading shared libraries: libfoo.so' >&2\nexit 127\n")
	s := supervise(t, func(o *Options) { o.Executable = bad })
	for range 2 {
		st := s.next()
		require.False(t, st.Up)
		require.Equal(t, "the Playwright server ended: error while loading shared libraries: libfoo.so", st.Why)
	}
}

func TestABrowserThatHangsAtItsStartIsKilled(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "browser")
	write(t, bad, "#!/bin/sh\nexec sleep 1000\n")
	s := supervise(t, func(o *Options) { o.Executable, o.StartTimeout = bad, 2*time.Second })
	require.Contains(t, s.next().Why, "(browser.start_timeout)")
}

func TestAStopMidStartLeavesNothing(t *testing.T) {
	supervise(t, func(*Options) {}) // the cleanup stops it
}

func TestAStopThatMayNotWaitKills(t *testing.T) {
	s := supervise(t, func(*Options) {})
	require.True(t, s.next().Up)
	node := s.pid("launch-server")
	require.NoError(t, syscall.Kill(node, syscall.SIGSTOP)) // hangs
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()
	require.NoError(t, s.Stop(ctx))
	require.Less(t, time.Since(began), closeTime)
}
