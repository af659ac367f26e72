package integration_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
