package integration_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The one command of the README: it says where the pool serves, starts again
// what is killed, and leaves nothing behind after a Ctrl-C.
func TestMakeUp(t *testing.T) {
	harness.NeedBrowser(t)
	pages := harness.StartPages(t)
	port := harness.Port(t)
	pids := t.TempDir()
	// What is a setting of one service only is no mistake.
	up := makeUp(t, port, pids, "PWDIST_BROWSER__ARGS="+harness.List(pages.BrowserArgs()...), "PWDIST_QUEUE__WAIT=60s", "PWDIST_SLOTTS=4")
	harness.AwaitWithin(t, 4*harness.Patience, "make up says where the pool serves", func() bool {
		return strings.Contains(up.Output(), fmt.Sprintf("playwright-distributed serves at ws://localhost:%d\n", port)) || !up.Running()
	})
	require.True(t, up.Running())
	url := fmt.Sprintf("ws://localhost:%d", port)
	served := func(when string) {
		t.Helper()
		title, err := harness.Visit(t, url, "https://example.com/")
		require.NoError(t, err, when)
		require.Equal(t, harness.ExampleTitle, title, when)
	}
	served("at first")
	require.Contains(t, up.Output(), "PWDIST_SLOTTS is not a setting")
	require.Equal(t, 2, strings.Count(up.Output(), "is not a setting"), "each service knows neither that one nor the other's")

	for _, part := range []string{"worker1", "proxy", "redis"} {
		b := harness.Connect(t, url)
		page := b.OpenPage(t, "http://example.com/")
		pid := pidOf(t, pids, part)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		if part == "redis" {
			works(t, page)
			require.NoError(t, b.Close())
		} else {
			b.AwaitLost(t)
		}
		harness.Await(t, part+" runs again", func() bool {
			now, err := readPID(pids, part)
			return err == nil && now != pid
		})
		if part == "proxy" {
			// There is no other proxy, so its clients have to try again.
			harness.Await(t, "the proxy accepts connections", func() bool { return harness.Listens("localhost:" + itoa(port)) })
		}
		served("after " + part + " was killed")
	}

	family := up.Descendants()
	require.NotEmpty(t, family)
	interrupt(t, up)
	harness.Await(t, "all its processes are gone", func() bool {
		for _, member := range family {
			if member.Alive() {
				return false
			}
		}
		return true
	})
	left, err := filepath.Glob(filepath.Join(pids, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// At another address than localhost it names that one, and looks there for who
// serves at its port already.
func TestMakeUpElsewhere(t *testing.T) {
	harness.NeedBrowser(t)
	const host = "127.0.0.2"
	port := harness.Port(t)
	l, err := net.Listen("tcp", net.JoinHostPort(host, itoa(port)))
	require.NoError(t, err)
	up := makeUp(t, port, t.TempDir(), "PWDIST_UP_HOST="+host)
	select {
	case <-up.Done():
	case <-time.After(4 * harness.Patience):
		t.Fatal("make up does not see that its port is taken")
	}
	require.Contains(t, up.Output(), fmt.Sprintf("up: port %d is in use: set PWDIST_UP_PORT", port))
	require.NoError(t, l.Close())

	l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(port)))
	require.NoError(t, err)
	defer l.Close()
	up = makeUp(t, port, t.TempDir(), "PWDIST_UP_HOST="+host)
	url := "ws://" + net.JoinHostPort(host, itoa(port))
	harness.AwaitWithin(t, 4*harness.Patience, "make up says where the pool serves", func() bool {
		return strings.Contains(up.Output(), "playwright-distributed serves at "+url+"\n") || !up.Running()
	})
	require.True(t, up.Running())
	b, err := harness.TryConnect(t, url)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	interrupt(t, up)
}

// interrupt is a Ctrl-C.
func interrupt(t *testing.T, up *harness.Process) {
	t.Helper()
	up.SignalGroup(t, syscall.SIGINT)
	select {
	case <-up.Done():
	case <-time.After(harness.Patience):
		t.Fatal("make up does not end after SIGINT")
	}
}

// makeUp starts a pool at a port. Its other ports are free ones.
func makeUp(t *testing.T, port int, pids string, vars ...string) *harness.Process {
	t.Helper()
	up := harness.Start(t, t.TempDir(), harness.Command{
		Name: "make-up", Path: "make", Args: []string{"--no-print-directory", "up"}, Dir: harness.Root(), Group: true,
		Env: append([]string{
			"PWDIST_UP_PORT=" + itoa(port), "PWDIST_UP_ADMIN_PORT=" + itoa(harness.Port(t)),
			"PWDIST_UP_WORKER_PORT=" + itoa(harness.Port(t)), "PWDIST_UP_WORKER_ADMIN_PORT=" + itoa(harness.Port(t)),
			"PWDIST_UP_REDIS_PORT=" + itoa(harness.Port(t)), "PWDIST_UP_PIDFILE_DIR=" + pids,
		}, vars...),
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("make up printed:\n%s", up.Tail())
		}
		up.Kill()
	})
	return up
}

// A worker that can never start is not started for ever: the last thing to be
// read is why.
func TestMakeUpGivesUp(t *testing.T) {
	pids := t.TempDir()
	up := makeUp(t, harness.Port(t), pids, "PWDIST_BROWSER__EXECUTABLE=/nowhere/chrome")
	select {
	case <-up.Done():
	case <-time.After(4 * harness.Patience):
		t.Fatal("make up goes on for ever")
	}
	_, why, found := strings.Cut(up.Output(), "up: giving up, as worker1 failed 5 times in a row as soon as it was started. It said last:\n")
	require.True(t, found)
	require.Contains(t, why, "browser.executable: there is no program /nowhere/chrome")
	require.Contains(t, why, "Error", "of make: the exit status is not 0")
	left, err := filepath.Glob(filepath.Join(pids, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func pidOf(t *testing.T, dir, part string) int {
	t.Helper()
	pid, err := readPID(dir, part)
	require.NoError(t, err)
	return pid
}

func readPID(dir, part string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dir, part+".pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func itoa(n int) string { return strconv.Itoa(n) }
