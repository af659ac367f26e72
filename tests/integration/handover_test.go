package integration_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A proxy is replaced by another one on the same ports, five times, while
// clients connect all the time: not one of them is refused or reset, and the
// session that ran goes on in the first process to its end.
func TestRestartRefusesNobody(t *testing.T) {
	p := harness.New(t, harness.Options{
		Workers: 1, Worker: harness.Settings{"slots": "20", "lifetime.sessions": "0"},
		Proxy: harness.Settings{"handover.socket": filepath.Join(t.TempDir(), "handover.sock")},
	})
	b, done := inTheMiddle(t, p, "running")
	first := p.Proxy().Process()

	var clients sync.WaitGroup
	var served atomic.Int32
	stop := make(chan struct{})
	failed := make(chan error, 100)
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := knock(p.Proxy().Address); err != nil {
					failed <- err
					return
				}
				served.Add(1)
			}
		})
	}
	for range 5 {
		before, so := p.Proxy().Process(), served.Load()
		p.Proxy().Start(t)
		if before == first {
			harness.Await(t, "the first proxy knows its successor", func() bool { return harness.Logged(before, "another proxy has taken over") })
		} else {
			require.Zero(t, before.ExitCode(t, harness.Patience))
		}
		harness.Await(t, "the new proxy serves", func() bool { return served.Load() > so+20 || len(failed) > 0 })
		// It may serve a moment before it can be replaced.
		after := p.Proxy().Process()
		harness.Await(t, "the new proxy can be replaced", func() bool { return harness.Logged(after, `{"component": "succession"`) })
	}
	close(stop)
	clients.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}

	require.True(t, first.Running(), "it has a session")
	done()
	require.NoError(t, b.Close())
	require.Zero(t, first.ExitCode(t, harness.Patience))
	p.Proxy().AwaitReady(t)
}

// knock gets a session and leaves.
func knock(address string) error {
	c, err := net.DialTimeout("tcp", address, harness.Patience)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(harness.Patience))
	request := "GET / HTTP/1.1\r\nHost: " + address + "\r\n"
	for name, value := range harness.UpgradeHeaders("1.65.1", nil) {
		request += name + ": " + value + "\r\n"
	}
	if _, err := c.Write([]byte(request + "\r\n")); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("answered %s", r.Status)
	}
	return nil
}

// A proxy that dies before it serves leaves the one it wanted to replace as it is.
func TestFailedSuccessorChangesNothing(t *testing.T) {
	p := harness.New(t, harness.Options{Proxy: harness.Settings{"handover.socket": filepath.Join(t.TempDir(), "handover.sock")}})
	running := p.Proxy().Process()
	broken := p.AddProxy(t, harness.Settings{"redis.url": "redis://127.0.0.1:1/0", "listen": p.Proxy().Address, "admin.listen": p.Proxy().Admin})
	harness.Await(t, "it looks for its Redis", func() bool { return harness.Logged(broken.Process(), "cannot reach Redis") })
	broken.Kill()
	p.Proxies = p.Proxies[:1]
	require.True(t, running.Running())
	harness.Await(t, "it serves", func() bool { return p.Proxy().Ready() })
	got := harness.Request(t, p.Proxy().Address, "/json", nil).Answer(t)
	require.Equal(t, http.StatusOK, got.Status)
}

// A proxy that cannot offer the sockets to the next one does not start. It serves by then, and
// yet refuses nobody; the proxy that it wanted to replace goes on.
func TestSuccessorWithoutAnOffer(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "h")
	// The same path by a name as long as the system allows, which leaves nothing to make the new one's own socket by.
	const longest = 107
	alias := filepath.Join(os.TempDir(), strings.Repeat("a", longest-len(os.TempDir())-len("//h")))
	require.NoError(t, os.Symlink(folder, alias))
	t.Cleanup(func() { require.NoError(t, os.Remove(alias)) })

	p := harness.New(t, harness.Options{Workers: 1, Proxy: harness.Settings{"handover.socket": path}})
	running := p.Proxy().Process()
	link := faults.Start(t, p.Redis.Address)
	require.NoError(t, link.Cut())
	broken := p.AddProxy(t, harness.Settings{
		"redis.url": "redis://" + link.Address(), "listen": p.Proxy().Address, "admin.listen": p.Proxy().Admin,
		"handover.socket": filepath.Join(alias, "h"),
	}).Process()
	p.Proxies = p.Proxies[:1]
	harness.Await(t, "it has the sockets, and looks for its Redis", func() bool { return harness.Logged(broken, "cannot reach Redis") })
	running.Signal(t, syscall.SIGSTOP) // so that clients are the other one's, or wait to be accepted
	early := harness.Upgrade(t, p.Proxy().Address, "/?name=early", "1.65.1", nil)
	late := harness.Dial(t, p.Proxy().Address)
	require.NoError(t, link.Heal())
	harness.Await(t, "it accepts", func() bool { return harness.Logged(broken, "serving") })
	<-time.After(200 * time.Millisecond) // it has failed by now
	late.Ask(t, "/?name=late", harness.UpgradeHeaders("1.65.1", nil))
	running.Signal(t, syscall.SIGCONT)
	for _, client := range []*harness.Raw{early, late} {
		require.Equal(t, http.StatusSwitchingProtocols, client.Answer(t).Status)
		require.NoError(t, client.Close())
	}
	require.Equal(t, 1, broken.ExitCode(t, harness.Patience))
	require.Contains(t, broken.Output(), "start succession: handover: cannot listen on h")

	require.True(t, running.Running())
	require.NotContains(t, running.Output(), "another proxy has taken over")
	require.NoError(t, knock(p.Proxy().Address))
	next := p.Proxy()
	next.Start(t)
	require.Zero(t, running.ExitCode(t, harness.Patience), "it can be replaced as ever")
	next.AwaitReady(t)
}

// A proxy that was replaced has one drain time for all: for who waits there and for what runs.
func TestReplacedProxyDrainsOnce(t *testing.T) {
	const drain = 6 * time.Second
	p := harness.New(t, harness.Options{
		Workers: 1, Worker: harness.Settings{"slots": "1"},
		Proxy: harness.Settings{"handover.socket": filepath.Join(t.TempDir(), "h"), "drain": drain.String(), "queue.max_wait": "1h"},
	})
	replaced := p.Proxy().Process()
	raw := harness.Upgrade(t, p.Proxy().Address, "/?name=runs", "1.65.1", nil)
	require.Equal(t, http.StatusSwitchingProtocols, raw.Answer(t).Status)
	waiting := harness.Upgrade(t, p.Proxy().Address, "/?name=waits&timeout=1h", "1.65.1", nil)
	p.Log.AwaitSession(t, "waits", event.SessionQueued)
	p.Proxy().Start(t)
	harness.Await(t, "it knows its successor", func() bool { return harness.Logged(replaced, "another proxy has taken over") })
	began := time.Now()
	got := waiting.Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "draining", got.Code())
	require.Equal(t, harness.Farewell{Code: 1001, Reason: "the proxy is going away", Ended: true}, raw.AwaitFarewell(t))
	require.Less(t, time.Since(began), drain*3/2, "the second one is cut after a drain time of its own")
	require.Zero(t, replaced.ExitCode(t, harness.Patience))
	require.Equal(t, event.ReasonProxyDrained, p.Log.AwaitSession(t, "runs", event.SessionEnded).Session.Reason)
	require.NoError(t, raw.Close())
	p.Proxy().AwaitReady(t)
}
