package integration_test

import (
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// SIGTERM to a worker: the session that runs finishes its work, new clients get
// the other worker, and the process ends with status 0.
func TestWorkerDrains(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	b, done := inTheMiddle(t, p, "running")
	leaving := p.Workers[0]
	id := p.WorkerID(leaving)

	leaving.Process().Signal(t, syscall.SIGTERM)
	p.Log.Await(t, "the worker retires", func(e event.Event) bool { return e.Type == event.WorkerRetiring && e.Worker.ID == id })
	p.AddWorker(t, nil).AwaitReady(t)
	serves(t, p, "next")
	require.NotEqual(t, id, p.Log.AwaitSession(t, "next", event.SessionStarted).Session.Worker)
	require.True(t, leaving.Process().Running())

	done()
	require.NoError(t, b.Close())
	require.Zero(t, leaving.Process().ExitCode(t, harness.Patience))
	require.Equal(t, event.ReasonClientClosed, p.Log.AwaitSession(t, "running", event.SessionEnded).Session.Reason)
	left := p.Log.Await(t, "the worker left", func(e event.Event) bool { return e.Type == event.WorkerLeft && e.Worker.ID == id })
	require.Equal(t, "drain", left.Worker.Reason)
}

// When its drain deadline has passed, a worker ends what still runs.
func TestWorkerDrainHasADeadline(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"drain": "1s"}})
	b := inPage(t, p, "endless")
	p.Workers[0].Process().Signal(t, syscall.SIGTERM)
	b.AwaitLost(t)
	require.Zero(t, p.Workers[0].Process().ExitCode(t, harness.Patience))
	require.Equal(t, event.ReasonWorkerDrained, p.Log.AwaitSession(t, "endless", event.SessionEnded).Session.Reason)
}

// SIGTERM to a proxy: the session that runs finishes its work, a client that
// waits and one that comes are told to go elsewhere, and the process ends with
// status 0.
func TestProxyDrains(t *testing.T) {
	p := harness.New(t, harness.Options{Proxies: 2, Workers: 1, Worker: harness.Settings{"slots": "1"}})
	b, done := inTheMiddle(t, p, "running")
	// Accepted before the next one, and silent until the drain.
	late := harness.Dial(t, p.Proxy().Address)
	waiting := harness.Upgrade(t, p.Proxy().Address, "/?name=waiting", "1.65.1", nil)
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)
	p.Proxy().Process().Signal(t, syscall.SIGTERM)
	got := waiting.Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "draining", got.Code())
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.Regexp(t, `It waited \S+\. When it came it was number 1 in line for what it asked for; in the whole pool 1 waited, itself included\.`, got.Body)
	_, err := net.Dial("tcp", p.Proxy().Address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	late.Ask(t, "/?name=late", harness.UpgradeHeaders("1.65.1", nil))
	got = late.Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "draining", got.Code())
	harness.Await(t, "the proxy is not ready any more", func() bool { return !p.Proxy().Ready() })
	require.True(t, p.Proxy().Process().Running())

	done()
	require.NoError(t, b.Close())
	require.Zero(t, p.Proxy().Process().ExitCode(t, harness.Patience))
	require.Equal(t, event.ReasonClientClosed, p.Log.AwaitSession(t, "running", event.SessionEnded).Session.Reason)
	_, err = harness.Visit(t, harness.URL(p.Proxies[1], "name=next"), "http://example.com/")
	require.NoError(t, err)
}

// When its drain deadline has passed, a proxy closes what still runs, with a
// close frame that says why; a client that waits has long been sent elsewhere.
func TestProxyDrainHasADeadline(t *testing.T) {
	p := harness.New(t, harness.Options{
		Workers: 1, Worker: harness.Settings{"slots": "2"}, Proxy: harness.Settings{"drain": "1s", "drain_delay": "100ms"},
	})
	b := inPage(t, p, "endless")
	raw := harness.Upgrade(t, p.Proxy().Address, "/?name=raw", "1.65.1", nil)
	require.Equal(t, http.StatusSwitchingProtocols, raw.Answer(t).Status)
	waiting := harness.Upgrade(t, p.Proxy().Address, "/?name=waiting", "1.65.1", nil)
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	p.Proxy().Process().Signal(t, syscall.SIGTERM)
	got := waiting.Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "draining", got.Code())
	require.True(t, b.Connected(), "nobody is cut before the deadline")
	require.Equal(t, harness.Farewell{Code: 1001, Reason: "the proxy is going away", Ended: true}, raw.AwaitFarewell(t))
	require.NoError(t, raw.Close())
	b.AwaitLost(t)
	require.Zero(t, p.Proxy().Process().ExitCode(t, harness.Patience))
	for _, name := range []string{"endless", "raw"} {
		require.Equal(t, event.ReasonProxyDrained, p.Log.AwaitSession(t, name, event.SessionEnded).Session.Reason)
	}
	endless := p.Log.AwaitSession(t, "endless", event.SessionEnded).Session
	require.NotZero(t, endless.MessagesUp)
	require.NotZero(t, endless.MessagesDown)
	require.Equal(t, event.SessionRejected, p.Log.AwaitSession(t, "waiting", event.SessionRejected).Type)
}

// Until the balancer in front knows, a proxy that was stopped serves new clients, though
// it is not ready, and another process may still take over.
func TestProxyDrainDelay(t *testing.T) {
	p := harness.New(t, harness.Options{
		Workers: 1, Proxy: harness.Settings{"drain_delay": "1h", "handover.socket": filepath.Join(t.TempDir(), "handover.sock")},
	})
	leaving := p.Proxy().Process()
	leaving.Signal(t, syscall.SIGTERM)
	harness.Await(t, "the proxy is not ready any more", func() bool { return !p.Proxy().Ready() })
	b, done := inTheMiddle(t, p, "late")
	p.Proxy().Start(t)
	p.Proxy().AwaitReady(t)
	serves(t, p, "next")
	require.True(t, leaving.Running(), "it has a session")
	done()
	require.NoError(t, b.Close())
	require.Zero(t, leaving.ExitCode(t, harness.Patience))
	p.Proxy().Kill() // or it would delay its end, too
	p.Proxies = nil
}

// inTheMiddle connects a client that is waiting for a page when this returns.
// The function that comes with it lets the page arrive and checks that the
// client gets it.
func inTheMiddle(t *testing.T, p *harness.Pool, name string) (*harness.Browser, func()) {
	t.Helper()
	b := harness.Connect(t, p.URL("name="+name))
	page := b.NewContext(t).NewPage(t)
	arrived := make(chan error, 1)
	go func() { arrived <- page.Goto("http://example.com/hold?key=" + name) }()
	p.Pages.Held(t, name)
	return b, func() {
		t.Helper()
		p.Pages.Release(name)
		require.NoError(t, <-arrived)
		title, err := page.Title()
		require.NoError(t, err)
		require.Equal(t, harness.ExampleTitle, title)
	}
}
