package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The client contract's refusals that waiting does not help: each comes at
// once, says why and what to do, and leaves nothing behind (I11). The worker
// that the pool knows of is a stand-in, since nobody gets as far as to it.
func TestRefusals(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{Proxy: harness.Settings{"queue.wait": "60s"}})
	// Before the proxy, so that this knows them when it is ready.
	p.JoinStandIn(t, standIn("1.65.1"))
	p.JoinStandIn(t, standIn("1.62.0"))
	p.AddProxy(t, nil).AwaitReady(t)
	address := p.Proxy().Address

	for name, test := range map[string]struct {
		target  string
		version string
		headers harness.Headers
		plain   bool // no request for a WebSocket
		status  int
		code    string
		text    []string
	}{
		"unknown browser":        {target: "/?browser=netscape", status: 400, code: "unknown_browser", text: []string{`"netscape"`, "chromium, firefox or webkit"}},
		"unknown browser header": {headers: harness.Headers{"x-playwright-browser": "netscape"}, status: 400, code: "unknown_browser", text: []string{`"netscape"`}},
		"unknown parameter":      {target: "/?brwoser=chromium", status: 400, code: "bad_query", text: []string{"brwoser", "browser, isolation"}},
		"malformed timeout":      {target: "/?timeout=soon", status: 400, code: "bad_query", text: []string{"timeout", `"soon"`}},
		"malformed label":        {target: "/?label=a", status: 400, code: "bad_query", text: []string{"key=value"}},
		"malformed require":      {target: "/?require==a", status: 400, code: "bad_query", text: []string{"key=value"}},
		"malformed isolation":    {target: "/?isolation=total", status: 400, code: "bad_query", text: []string{"context or browser"}},
		"malformed query":        {target: "/?name=%zz", status: 400, code: "bad_query"},
		"foreign origin":         {headers: harness.Headers{"Origin": "https://evil.test"}, status: 403, code: "foreign_origin", text: []string{"https://evil.test"}},
		"unknown path":           {target: "/nothing/here", status: 404, code: "not_found", text: []string{"/nothing/here", "ws://HOST:PORT/"}},
		"unknown path, plain":    {target: "/nothing/here", plain: true, status: 404, code: "not_found"},
		"plain request":          {target: "/", plain: true, status: 426, code: "upgrade_required", text: []string{"chromium.connect("}},
		"version":                {version: "1.40.0", status: 428, code: "no_version", text: []string{"1.40", "1.62", "1.65"}},
		"labels":                 {target: "/?require=gpu=yes", status: 428, code: "no_labels", text: []string{"gpu=yes", "no labels"}},
		"isolation":              {target: "/?isolation=browser", status: 428, code: "no_isolation", text: []string{"browser", "context"}},
		"CDP client":             {headers: harness.Headers{"x-playwright-browser": "-"}, status: 400, code: "cdp_client", text: []string{"chromium.connect('ws://HOST:PORT')"}},
		"Puppeteer":              {headers: harness.Headers{"x-playwright-browser": "-", "User-Agent": "Puppeteer 24"}, status: 400, code: "cdp_client"},
		"CDP discovery":          {target: "/json/version", plain: true, status: 400, code: "cdp_client", text: []string{"connectOverCDP"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.target == "" {
				test.target = "/"
			}
			if test.version == "" {
				test.version = "1.65.1"
			}
			h := harness.UpgradeHeaders(test.version, test.headers)
			if test.plain {
				h = harness.Headers{}
			}
			got := harness.Request(t, address, test.target, h).Answer(t)
			require.Equal(t, test.status, got.Status, got.Body)
			require.Equal(t, test.code, got.Code())
			for _, want := range test.text {
				require.Contains(t, got.Body, want)
			}
			require.Empty(t, got.Header.Get("Retry-After"), "waiting does not help here")
			require.NotEmpty(t, got.Header.Get("x-playwright-debug-log"))
		})
	}

	t.Run("stock clients show the text", func(t *testing.T) {
		_, err := harness.TryConnect(t, p.URL("browser=netscape"))
		require.ErrorContains(t, err, `There is no browser "netscape".`)
		require.ErrorContains(t, err, "400")
		_, err = harness.TryConnect(t, p.URL("require=gpu=yes"))
		require.ErrorContains(t, err, "No worker of this pool has the labels that were required. Required: gpu=yes")
		_, err = harness.TryConnect(t, p.URL(""), harness.ConnectOptions{Headers: map[string]string{"User-Agent": "Playwright/1.40.0"}})
		require.ErrorContains(t, err, "Your client speaks Playwright 1.40; this pool has chromium for Playwright 1.62; 1.65.")
		_, err = harness.TryConnect(t, p.URL(""), harness.ConnectOptions{ExposeNetwork: "<loopback>"})
		require.ErrorContains(t, err, "Connect without exposeNetwork.")
		for _, url := range []string{p.URL(""), "http://" + address} {
			_, err = harness.TryConnectOverCDP(t, url)
			require.Error(t, err, url)
			require.ErrorContains(t, err, "400", url)
		}
		_, err = harness.TryConnectOverCDP(t, p.URL(""))
		require.ErrorContains(t, err, "Use chromium.connect('ws://HOST:PORT') of Playwright")
	})

	t.Run("the address of the WebSocket", func(t *testing.T) {
		got := harness.Request(t, address, "/json", harness.Headers{}).Answer(t)
		require.Equal(t, http.StatusOK, got.Status)
		require.JSONEq(t, `{"wsEndpointPath":"/"}`, got.Body)
	})

	for _, e := range p.Log.All() {
		require.Nil(t, e.Session, "a refusal at once is no session: %s", e.Type)
	}
	p.LeaveStandIns(t)
}

func standIn(version string) state.Worker {
	return state.Worker{
		ID: "stand-in-" + version, Browser: "chromium", BrowserVersion: "1", Playwright: version,
		Isolation: []string{"context"}, Slots: 1,
	}
}

// Refusals of those who may wait, and that a client waits for a browser of
// which there is no worker at the moment.
func TestRefusalsOfWaitingClients(t *testing.T) {
	p := harness.New(t, harness.Options{Proxy: harness.Settings{"queue.size": "2", "queue.wait": "60s"}})
	address := p.Proxy().Address

	t.Run("wait timeout", func(t *testing.T) {
		got := harness.Upgrade(t, address, "/?name=short&timeout=300ms", "1.65.1", nil).Answer(t)
		require.Equal(t, http.StatusServiceUnavailable, got.Status)
		require.Equal(t, "wait_timeout", got.Code())
		require.NotEmpty(t, got.Header.Get("Retry-After"))
		require.Equal(t, event.ReasonWaitTimeout, p.Log.AwaitSession(t, "short", event.SessionRejected).Session.Reason)
	})
	t.Run("no firefox", func(t *testing.T) {
		got := harness.Upgrade(t, address, "/?name=fox&timeout=300", "1.65.1", harness.Headers{"x-playwright-browser": "firefox"}).Answer(t)
		require.Equal(t, http.StatusServiceUnavailable, got.Status)
		require.Equal(t, "wait_timeout", got.Code())
		require.Contains(t, got.Body, "This pool has no worker at the moment.")
		require.Equal(t, "firefox", p.Log.AwaitSession(t, "fox", event.SessionRejected).Session.Browser)
	})
	t.Run("a stock client shows the text", func(t *testing.T) {
		_, err := harness.TryConnect(t, p.URL("timeout=300ms"))
		require.ErrorContains(t, err, "No slot became free in the time this request may wait.")
	})
	t.Run("a stock client that gives up leaves the queue", func(t *testing.T) {
		_, err := harness.TryConnect(t, p.URL("name=hasty"), harness.ConnectOptions{Timeout: 5000})
		require.ErrorContains(t, err, "Timeout 5000ms exceeded")
		p.Log.AwaitSession(t, "hasty", event.SessionQueued)
		require.Equal(t, event.ReasonCancelled, p.Log.AwaitSession(t, "hasty", event.SessionRejected).Session.Reason)
	})
	t.Run("queue full, and who leaves makes room at once", func(t *testing.T) {
		first := harness.Upgrade(t, address, "/?name=first", "1.65.1", nil)
		p.Log.AwaitSession(t, "first", event.SessionQueued)
		harness.Upgrade(t, address, "/?name=second", "1.65.1", nil)
		p.Log.AwaitSession(t, "second", event.SessionQueued)

		got := harness.Upgrade(t, address, "/?name=third", "1.65.1", nil).Answer(t)
		require.Equal(t, http.StatusTooManyRequests, got.Status)
		require.Equal(t, "queue_full", got.Code())
		require.NotEmpty(t, got.Header.Get("Retry-After"))
		require.Equal(t, event.ReasonQueueFull, p.Log.AwaitSession(t, "third", event.SessionRejected).Session.Reason)

		require.NoError(t, first.Close())
		require.Equal(t, event.ReasonCancelled, p.Log.AwaitSession(t, "first", event.SessionRejected).Session.Reason)
		fourth := harness.Upgrade(t, address, "/?name=fourth", "1.65.1", nil)
		p.Log.AwaitSession(t, "fourth", event.SessionQueued)
		require.Len(t, p.Snapshot(t).Waiting, 2)
		require.NoError(t, fourth.Close())
	})
}

// A worker that does not answer costs the client time; when all have been
// tried it is told so, and nothing stays taken.
func TestNoWorkerAnswers(t *testing.T) {
	p := harness.New(t, harness.Options{Proxy: harness.Settings{"dial.attempts": "2", "queue.wait": "2s"}})
	dead := standIn("1.65.1")
	p.JoinStandIn(t, dead)
	dead.ID += "-too"
	p.JoinStandIn(t, dead)
	got := harness.Upgrade(t, p.Proxy().Address, "/?name=unlucky", "1.65.1", nil).Answer(t)
	require.Equal(t, http.StatusBadGateway, got.Status, got.Body)
	require.Equal(t, "dial_failed", got.Code())
	require.Equal(t, event.ReasonDialFailed, p.Log.AwaitSession(t, "unlucky", event.SessionEnded).Session.Reason)
	require.NotZero(t, p.Log.Count(event.WorkerSuspect))
	p.LeaveStandIns(t)
}

// While Redis is away nobody can be given a slot, and the client is told so.
func TestRedisIsAway(t *testing.T) {
	p := harness.New(t, harness.Options{Proxy: harness.Settings{"queue.wait": "1s"}})
	p.Redis.Kill()
	got := harness.Upgrade(t, p.Proxy().Address, "/", "1.65.1", nil).Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "redis_unavailable", got.Code())
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	harness.Await(t, "the proxy says that it is not ready", func() bool {
		status, why := p.Proxy().Get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(why, "redis")
	})
	p.Redis.Start(t)
	p.Proxy().AwaitReady(t)
}
