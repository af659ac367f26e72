package integration_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// In each of these a part dies by SIGKILL during a session. The client sees its
// connection end, its session gets one end, its slot comes free (I2, I3, both
// checked when the pool closes), and the next client is served without anybody's help.

func TestChromiumIsKilledDuringASession(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Supervise: true})
	victim := inPage(t, p, "victim")

	killBrowser(t, p.Workers[0].Process().Descendants())
	victim.AwaitLost(t)
	serves(t, p, "next")
	end := p.Log.AwaitSession(t, "victim", event.SessionEnded)
	require.Equal(t, event.ReasonBrowserCrashed, end.Session.Reason)
	require.Equal(t, 1, p.Log.Count(event.WorkerUnhealthy))
	require.Equal(t, 1, p.Workers[0].Boots(), "the worker itself need not start again")
}

func TestWorkerIsKilledDuringASession(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Supervise: true})
	victim := inPage(t, p, "victim")
	first := p.WorkerID(p.Workers[0])
	family := p.Workers[0].Process().Descendants()
	require.NotEmpty(t, family)

	p.Workers[0].Kill()
	victim.AwaitLost(t)
	serves(t, p, "next")
	end := p.Log.AwaitSession(t, "victim", event.SessionEnded)
	require.Equal(t, event.ReasonWorkerLost, end.Session.Reason)
	require.Equal(t, first, end.Session.Worker)
	require.NotEqual(t, first, p.WorkerID(p.Workers[0]))
	harness.Await(t, "the browser of the killed worker is gone", func() bool {
		for _, member := range family {
			if member.Alive() {
				return false
			}
		}
		return true
	})
}

func TestProxyIsKilledDuringASession(t *testing.T) {
	p := harness.New(t, harness.Options{Proxies: 2, Workers: 1, Worker: harness.Settings{"slots": "1"}})
	victim := inPage(t, p, "victim")
	// This one waits at the other proxy for the only slot.
	waiting := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, harness.URL(p.Proxies[1], "name=waiting"), "http://example.com/")
		waiting <- err
	}()
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	p.Proxy().Kill()
	victim.AwaitLost(t)
	require.NoError(t, <-waiting)
	end := p.Log.AwaitSession(t, "victim", event.SessionEnded)
	require.Contains(t, []event.Reason{event.ReasonClientClosed, event.ReasonProxyLost}, end.Session.Reason)

	p.Proxy().Start(t)
	p.Proxy().AwaitReady(t)
	serves(t, p, "next")
}

// A proxy that is killed while its client waits leaves no ticket behind that
// would be given a slot (I3).
func TestProxyIsKilledWhileAClientWaits(t *testing.T) {
	p := harness.New(t, harness.Options{
		Proxies: 2, Workers: 1, Common: harness.ShortLease(), Worker: harness.Settings{"slots": "1"},
	})
	holder, err := harness.TryConnect(t, harness.URL(p.Proxies[1], "name=holder"))
	require.NoError(t, err)
	raw := harness.Upgrade(t, p.Proxy().Address, "/?name=waiting", "1.65.1", nil)
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	p.Proxy().Kill()
	raw.AwaitEnd(t)
	end := p.Log.AwaitSession(t, "waiting", event.SessionRejected)
	require.Equal(t, event.ReasonProxyLost, end.Session.Reason)
	require.NoError(t, holder.Close())
	_, err = harness.Visit(t, harness.URL(p.Proxies[1], "name=next"), "http://example.com/")
	require.NoError(t, err)
}

// inPage connects a client and opens a page.
func inPage(t *testing.T, p *harness.Pool, name string) *harness.Browser {
	t.Helper()
	b := harness.Connect(t, p.URL("name="+name))
	b.OpenPage(t, "http://example.com/")
	p.Log.AwaitSession(t, name, event.SessionStarted)
	return b
}

// serves has a client do its work.
func serves(t *testing.T, p *harness.Pool, name string) {
	t.Helper()
	title, err := harness.Visit(t, p.URL("name="+name), "http://example.com/")
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
}

// killBrowser kills the main process of the browser that is among these.
func killBrowser(t *testing.T, among []harness.Proc) {
	t.Helper()
	for _, d := range among {
		program, _, _ := strings.Cut(d.Command, " ")
		if strings.Contains(program, "chrom") && !strings.Contains(d.Command, " --type=") {
			require.NoError(t, d.Kill())
			return
		}
	}
	t.Fatalf("found no browser among %v", among)
}
