package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a redis-server of its own for one test, on a port that stays the
// same when it is killed and started again.
type server struct {
	t    *testing.T
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
}

// newServer starts a server; args are added to its command line.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := prepareServer(t, args...)
	s.start()
	return s
}

// prepareServer reserves what a server needs without starting it.
func prepareServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), args: args}
	s.port = freePort(t)
	t.Cleanup(s.kill)
	return s
}

// freePort is a port that nobody listens on, and that nobody else takes as long
// as this test binary runs. It lies below those that the system hands out by
// itself, so that no connection takes it while its server is down.
func freePort(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	for range 100 {
		port := 15000 + rand.IntN(15000)
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err == nil {
			// Bound before it allows others to share the port, it was the only one
			// there; a server, which always allows it, can listen now.
			require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
			return port
		}
	}
	require.Fail(t, "no free port")
	return 0
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *server) url() string { return "redis://" + s.addr() }

func (s *server) socket() string { return filepath.Join(s.dir, "redis.sock") }

func (s *server) start() {
	s.t.Helper()
	args := append([]string{
		"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--unixsocket", s.socket(), "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	out, err := s.cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	// It says so when it serves; nothing has to be tried over and over.
	ready := make(chan string, 1)
	gone := make(chan struct{})
	cmd := s.cmd
	go func() {
		defer close(gone)
		var said strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := out.Read(buf)
			said.Write(buf[:n])
			if strings.Contains(said.String(), "eady to accept connections") || strings.Contains(said.String(), "Sentinel ID") || err != nil {
				select {
				case ready <- said.String():
				default:
				}
			}
			if err != nil {
				_ = cmd.Wait()
				return
			}
		}
	}()
	s.gone = gone
	said := <-ready
	require.Regexp(s.t, "eady to accept connections|Sentinel ID", said)
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
}

func (s *server) freeze() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

func (s *server) thaw() { s.t.Helper(); s.signal(syscall.SIGCONT) }

// kill ends the process at once, with all its data, and waits for it.
func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
	<-s.gone
}

// admin runs one command over a plain connection of its own.
func (s *server) admin(command ...string) string {
	s.t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-s", s.socket()}, command...)...).CombinedOutput()
	require.NoError(s.t, err)
	return strings.TrimSpace(string(out))
}

// health notes what OnHealth says.
type health struct {
	changes chan string // "" for up, else why not
}

func newHealth() *health { return &health{changes: make(chan string, 100)} }

func (h *health) on(ok bool, why string) {
	if ok != (why == "") {
		why = "ok and a reason do not fit: " + why
	}
	h.changes <- why
}

// next waits for the next change.
func (h *health) next(t *testing.T, within time.Duration) string {
	t.Helper()
	select {
	case c := <-h.changes:
		return c
	case <-time.After(within):
		require.Fail(t, "no change of health", "within %s", within)
		return ""
	}
}

// connect returns a client that is closed with the test.
func connect(t *testing.T, url string) rueidis.Client {
	t.Helper()
	c, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: url}, ClientName: "test", SmallBuffers: true, Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// logs returns a logger and what it got.
func logs() (*zap.Logger, *observer.ObservedLogs) {
	core, seen := observer.New(zap.DebugLevel)
	return zap.New(core), seen
}

// background runs f until the test ends or stop is called.
func background(t *testing.T, f func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("did not stop within 10 s of being told to")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}
