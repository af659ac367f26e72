package integration_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Programs of a release that keeps other data are started on a pool that is in
// use. They end at once and say why and what to do; the pool does not notice.
func TestAnotherReleaseIsKeptOut(t *testing.T) {
	p := harness.New(t, harness.Options{
		Workers: 1, Worker: harness.Settings{"slots": "1"},
		Proxy: harness.Settings{"queue.wait": "10m", "queue.max_wait": "10m"},
	})
	harness.BuildAnotherRelease(t)
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	p.Log.AwaitSession(t, "running", event.SessionStarted)
	waiting := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=waiting"), "http://example.com/")
		waiting <- err
	}()
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)
	now := func() harness.Snapshot {
		s := p.Snapshot(t)
		s.Events = slices.DeleteFunc(s.Events, func(e event.Event) bool { return e.Type == event.PoolResumed }) // of a machine that stood still
		return s
	}
	before := now()
	processes := members(t, p, p.Keys.Proxies(), p.Keys.Workers())

	for _, stranger := range []*harness.Process{p.TryProxyOfAnotherRelease(t), p.TryWorkerOfAnotherRelease(t)} {
		require.Equal(t, 1, stranger.ExitCode(t, 2*harness.Patience), stranger.Name)
		for _, want := range []string{
			`the pool "default" in Redis belongs to another release`, "schema " + state.Schema + "; this release has other",
			"--pool", "PWDIST_POOL", "delete the pool's keys", "docs/operations.md",
		} {
			require.Contains(t, stranger.Output(), want, stranger.Name)
		}
	}

	require.Equal(t, before, now(), "nothing happened")
	require.Equal(t, processes, members(t, p, p.Keys.Proxies(), p.Keys.Workers()))
	works(t, page)
	require.NoError(t, b.Close())
	require.NoError(t, <-waiting)
	serves(t, p, "next")
	require.Zero(t, p.Log.Count(event.SessionRejected)+p.Log.Count(event.WorkerLost))
}

// members lists what is in these zsets.
func members(t *testing.T, p *harness.Pool, zsets ...string) (all []string) {
	t.Helper()
	for _, key := range zsets {
		c := p.Redis.Client
		got, err := c.Do(context.Background(), c.B().Zrange().Key(key).Min("0").Max("-1").Build()).AsStrSlice()
		require.NoError(t, err)
		require.NotEmpty(t, got, key)
		all = append(all, got...)
	}
	return all
}

// The next release gets a pool of its own beside the running one and takes over
// its port. The session that runs and the client that waits stay where they
// are, who comes now is served by the next release, and nobody is refused.
func TestUpgradeBeside(t *testing.T) {
	socket := harness.Settings{"handover.socket": filepath.Join(t.TempDir(), "handover.sock")}
	socket["queue.wait"], socket["queue.max_wait"] = "10m", "10m"
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "1"}, Proxy: socket})
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	waiting := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=waiting"), "http://example.com/")
		waiting <- err
	}()
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	next := harness.Settings{"pool": "next"}
	p.AddWorkerOfAnotherRelease(t, next).AwaitReady(t)
	p.AddProxyOfAnotherRelease(t, harness.Settings{
		"pool": "next", "listen": p.Proxy().Address, "admin.listen": p.Proxy().Admin,
	}).AwaitReady(t)
	harness.Await(t, "the old proxy has given up its port", func() bool {
		return harness.Logged(p.Proxy().Process(), "another proxy has taken over")
	})
	serves(t, p, "new")
	require.Contains(t, events(t, p, "next"), "new")
	require.Empty(t, p.Log.Of("new"))

	works(t, page)
	require.NoError(t, b.Close())
	require.NoError(t, <-waiting)
	require.Zero(t, p.Proxies[0].Process().ExitCode(t, harness.Patience))
	old := p.Workers[0].Process()
	old.Signal(t, syscall.SIGTERM)
	require.Zero(t, old.ExitCode(t, harness.Patience))
	require.Zero(t, p.Log.Count(event.SessionRejected))
	serves(t, p, "newer")
}

// events is the log of a pool of another name, as text.
func events(t *testing.T, p *harness.Pool, pool string) string {
	t.Helper()
	k, err := keys.For(pool)
	require.NoError(t, err)
	c := p.Redis.Client
	got, err := c.Do(context.Background(), c.B().Xrange().Key(k.Events()).Start("-").End("+").Build()).AsXRange()
	require.NoError(t, err)
	var b strings.Builder
	for _, e := range got {
		b.WriteString(e.FieldValues["type"] + " " + e.FieldValues["name"] + "\n")
	}
	return b.String()
}

// The way without a second pool: everything of the old release ends, the keys
// but the events are deleted as the documentation says, the next release starts.
func TestUpgradeInPlace(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	serves(t, p, "before")
	for _, s := range []*harness.Service{p.Proxy(), p.Workers[0]} {
		s.Process().Signal(t, syscall.SIGTERM)
		require.Zero(t, s.Process().ExitCode(t, harness.Patience))
	}
	require.Equal(t, 1, p.TryProxyOfAnotherRelease(t).ExitCode(t, harness.Patience), "not before the keys are gone")

	text := fromDocs(t, "docs/operations.md", `redis-cli [^\n]*--scan.*\n`)
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(text, "$REDIS_URL", p.Redis.URL))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", text, out)

	w := p.AddWorkerOfAnotherRelease(t, nil)
	s := p.AddProxyOfAnotherRelease(t, nil)
	w.AwaitReady(t)
	s.AwaitReady(t)
	_, err = harness.Visit(t, harness.URL(s, "name=after"), "http://example.com/")
	require.NoError(t, err)
	require.Equal(t, event.ReasonClientClosed, p.Log.AwaitSession(t, "before", event.SessionEnded).Session.Reason, "the log goes on")
	require.Equal(t, event.ReasonClientClosed, p.Log.AwaitSession(t, "after", event.SessionEnded).Session.Reason)
	require.Equal(t, 2, p.Log.Count(event.PoolReset))
	require.Equal(t, http.StatusOK, harness.Request(t, s.Address, "/json", nil).Answer(t).Status)
}

// fromDocs finds a command in the documentation.
func fromDocs(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), file))
	require.NoError(t, err)
	found := regexp.MustCompile(pattern).FindAllString(string(text), -1)
	require.Len(t, found, 1)
	return found[0]
}
