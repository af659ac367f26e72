package app

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/testkit"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestAWorkersLife(t *testing.T) {
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL(), "--lifetime.sessions=0", "--slots=2", "--labels=a=b").ready()
	step := func(name string, do func(t *testing.T)) {
		t.Helper()
		ok := t.Run(name, func(t *testing.T) {
			w.t, f.t = t, t
			do(t)
		})
		w.t, f.t = t, t
		require.True(t, ok)
	}

	step("sessions side by side", func(t *testing.T) {
		one, two := w.open(f, "one"), w.open(f, "two")
		require.Equal(t, "2", w.metric("pwdist_worker_sessions_active"))
		require.NoError(t, one.Close(websocket.StatusNormalClosure, ""))
		f.awaitEvent("session.ended one client_closed")
		two.alive()
		require.NoError(t, two.CloseNow())
		f.awaitEvent("session.ended two client_closed")
		require.Equal(t, "2", w.metric("pwdist_worker_sessions_started_total"))
		require.Equal(t, `2`, w.metric(`pwdist_worker_sessions_ended_total{reason="client_closed"}`))
	})
	step("only with an assignment", func(t *testing.T) { // I10
		for _, session := range []string{"stranger", "one"} {
			status, code := w.refused(session, 1)
			require.Equal(t, 403, status)
			require.Equal(t, "no_assignment", code)
		}
		f.assign("three")
		status, _ := w.refused("three", 2)
		require.Equal(t, 403, status, "another attempt")
		c, _, err := w.knock("three", 1)
		require.NoError(t, err)
		status, _ = w.refused("three", 1)
		require.Equal(t, 403, status, "used")
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended three client_closed")
	})
	step("another version of Playwright", func(t *testing.T) {
		f.assign("old")
		_, resp, err := w.knockAs("1.40.0", "old", 1)
		require.Error(t, err)
		require.Equal(t, 428, resp.StatusCode)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(text), "Playwright version mismatch")
		// Nothing was started, so another try can be made.
		c, _, err := w.knock("old", 1)
		require.NoError(t, err)
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended old client_closed")
	})
	step("a crash of the browser", func(t *testing.T) {
		c := w.open(f, "crashed")
		require.NoError(t, syscall.Kill(w.chromium(), syscall.SIGKILL))
		c.closed()
		_ = c.CloseNow()
		f.awaitEvent("session.ended crashed browser_crashed")
		f.awaitEvent("worker.unhealthy browser_crashed")
		w.ready()
		f.awaitEvent("worker.ready")
		c = w.open(f, "after")
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended after client_closed")
		require.Equal(t, "2", w.metric("pwdist_worker_browser_starts_total"))
	})
	step("an empty Redis", func(t *testing.T) { // I7
		c := w.open(f, "kept")
		f.Do("FLUSHALL")
		f.awaitEvent("worker.joined")
		testkit.Await(t, "the session is known again", func() bool { return f.Session("kept")["state"] == "active" })
		c.alive()
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended kept client_closed")
	})
	step("no Redis", func(t *testing.T) { // I7, I10
		c := w.open(f, "long")
		f.redis.Kill()
		testkit.Await(t, "the worker notices", func() bool { return w.status("/readyz") == 503 })
		status, code := w.refused("stranger", 1)
		require.Equal(t, 503, status)
		require.Equal(t, "redis_unavailable", code)
		c.alive()
		f.redis.Start()
		w.ready()
		testkit.Await(t, "the session is known again", func() bool { return f.Session("long")["state"] == "active" })
		c.alive()
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended long client_closed")
	})
	step("a drain", func(t *testing.T) {
		c := w.open(f, "last")
		w.signal(syscall.SIGTERM)
		f.awaitEvent("worker.retiring drain")
		c.alive()
		require.NoError(t, c.CloseNow())
		require.Zero(t, w.wait())
		f.awaitEvent("session.ended last client_closed")
		f.awaitEvent("worker.left drain")
		require.Empty(t, w.browsers())
		isEmpty(t, w.temp)
	})
}

func TestABrowserThatHangsIsReplaced(t *testing.T) { // I2, I3
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL(), "--browser.probe_interval=1s", "--browser.probe_timeout=1s").ready()
	c := w.open(f, "s")
	require.NoError(t, syscall.Kill(w.chromium(), syscall.SIGSTOP))
	require.Equal(t, websocket.StatusGoingAway, c.closed())
	f.awaitEvent("session.ended s browser_hung")
	f.awaitEvent("worker.unhealthy browser_hung")
	f.awaitEvent("worker.ready")
	require.Equal(t, "1", w.metric("pwdist_worker_browser_hangs_total"))
	w.open(f, "after").alive()
	require.NotContains(t, w.text(), "DATA RACE")
}

func TestAWorkerRetiresWhenItsBrowserHoldsTooMuch(t *testing.T) {
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL(), "--lifetime.sessions=0", "--browser.memory_limit=450MB").ready()
	c := w.open(f, "s")
	c.alive()
	before := f.Session("s")["worker"]
	beats := f.Do("ZSCORE", f.Keys.Beats(), before)
	testkit.Await(t, "it beats on", func() bool { return f.Do("ZSCORE", f.Keys.Beats(), before)[0] != beats[0] })
	require.NotContains(t, f.Events(), "worker.retiring memory")

	context := c.call(c.browser, "newContext", `{}`, "BrowserContext")
	page := c.call(context["guid"].(string), "newPage", `{}`, "Page")
	frame, _ := page["mainFrame"].(map[string]any)
	c.call(frame["guid"].(string), "evaluateExpression", `{"expression":"() => { window.held = new Uint8Array(600e6).fill(1); }","isFunction":true,"arg":{"value":{"v":"undefined"},"handles":[]}}`, "")
	f.awaitEvent("worker.retiring memory")
	c.alive() // what it serves goes on
	require.NoError(t, c.CloseNow())
	require.Zero(t, w.wait())
	f.awaitEvent("session.ended s client_closed")
	f.awaitEvent("worker.left memory")
	require.Contains(t, w.text(), "more memory than browser.memory_limit")
	isEmpty(t, w.temp)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "1500MB": 1_500_000_000, "2GiB": 2 << 30, "1.5G": 3 << 29, "3 kb": 3000} {
		got, err := parseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "much", "-1", "2TiBs", "NaN", "80%"} {
		_, err := parseBytes(text)
		require.ErrorContains(t, err, "2GiB", text)
	}
}

func TestADrainThatTakesTooLongCloses(t *testing.T) {
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL(), "--drain=300ms").ready()
	c := w.open(f, "s")
	w.signal(syscall.SIGTERM)
	require.Equal(t, websocket.StatusGoingAway, c.closed())
	require.Zero(t, w.wait())
	f.awaitEvent("session.ended s worker_drained")
	f.awaitEvent("worker.left drain")
	require.Empty(t, f.Do("SMEMBERS", f.Keys.Held(f.Session("s")["worker"])))
}

func TestALifetimeEndsWithStatusZero(t *testing.T) {
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL(), "--lifetime.sessions=3").ready()
	for _, session := range []string{"one", "two", "three"} {
		c := w.open(f, session)
		require.NoError(t, c.CloseNow())
		f.awaitEvent("session.ended " + session + " client_closed")
	}
	require.Zero(t, w.wait())
	f.awaitEvent("worker.retiring lifetime")
	f.awaitEvent("worker.left lifetime")
	isEmpty(t, w.temp)
}

func TestAKilledWorkerLeavesNoBrowser(t *testing.T) {
	f := newFleet(t)
	w := launch(t, "--redis.url="+f.redis.URL()).ready()
	c := w.open(f, "s")
	require.NotZero(t, w.chromium())
	w.signal(syscall.SIGKILL)
	require.Equal(t, websocket.StatusCode(-1), c.closed())
	<-w.exited
	w.awaitNoBrowser()

	// What it left on disk is removed by the next one, and a browser that hung
	// when its worker was killed, too.
	left, err := filepath.Glob(filepath.Join(w.temp, "pwdist-worker-*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	next := launchIn(t, w.temp, "--redis.url="+f.redis.URL())
	next.await("removed what a dead worker left")
	require.NoDirExists(t, left[0])
	next.ready()
	require.NoError(t, syscall.Kill(next.chromium(), syscall.SIGSTOP))
	next.signal(syscall.SIGKILL)
	<-next.exited
	require.NotEmpty(t, next.browsers())
	third := launchIn(t, w.temp, "--redis.url="+f.redis.URL())
	third.await("removed what a dead worker left")
	third.signal(syscall.SIGTERM)
	require.Zero(t, third.wait())
	require.Empty(t, third.browsers())
	isEmpty(t, w.temp)
}

func TestWhatIsWrongIsOneLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = busy.Close() }()
	secured := testkit.StartRedis(t)
	secured.Pool(state.DefaultOptions()).Do("CONFIG", "SET", "requirepass", "right")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an unknown flag":   {[]string{"--slot=3"}, 2, "pwdist-worker: unknown flag --slot"},
		"a wrong value":     {[]string{"--slots=many"}, 2, "slots must be a whole number"},
		"a missing browser": {[]string{"--browser.executable=/nowhere/chrome"}, 1, "browser.executable: there is no program /nowhere/chrome"},
		"no playwright":     {[]string{"--playwright.dir=/nowhere"}, 1, `there is no node_modules/playwright-core in /nowhere (playwright.dir): run "npm ci" there`},
		"no node":           {[]string{"--playwright.node=/nowhere/node"}, 1, "there is no program /nowhere/node: install Node.js"},
		"a busy port":       {[]string{"--listen=" + busy.Addr().String()}, 1, "cannot listen on " + busy.Addr().String()},
		"a wrong password":  {[]string{"--redis.url=redis://:wrong@" + strings.TrimPrefix(secured.URL(), "redis://")}, 1, "refuses the user or password of redis.url"},
		"a wrong URL":       {[]string{"--redis.url=http://x"}, 1, "redis.url"},
	} {
		t.Run(name, func(t *testing.T) {
			w := launch(t, append(c.args, "--log.level=error")...)
			require.Equal(t, c.code, w.wait())
			require.Contains(t, w.text(), c.want)
			require.Equal(t, 1, strings.Count(w.text(), "\n"), w.text())
			require.NotContains(t, w.text(), "wrong@")
			isEmpty(t, w.temp)
		})
	}
}

func TestSettingsAreCheckedWithoutRedisOrBrowser(t *testing.T) {
	w := launch(t, "--check-config", "--redis.url=redis://127.0.0.1:1", "--playwright.dir=/nowhere")
	require.Zero(t, w.wait())
	require.Equal(t, "configuration ok\n", w.text())
}

func TestAnUnreachableRedisIsTriedAgain(t *testing.T) {
	address := freeAddress(t)
	w := launch(t, "--redis.url=redis://"+address)
	w.await("cannot reach Redis at " + address + ": connection refused; trying again in")
	require.Equal(t, 503, w.status("/readyz"))
	require.Equal(t, 200, w.status("/healthz"))
	began := time.Now()
	w.signal(syscall.SIGTERM)
	require.Zero(t, w.wait())
	require.Less(t, time.Since(began), testkit.Patience/2)
	require.Empty(t, w.browsers())
	_, err := os.Stat(w.temp)
	require.NoError(t, err)
	isEmpty(t, w.temp)
}
