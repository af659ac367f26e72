package app

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

func load(t *testing.T, environ []string, args ...string) (Config, []string, error) {
	t.Helper()
	cfg, warnings, outcome, err := Load(args, environ, io.Discard)
	require.Equal(t, config.Run, outcome)
	return cfg, warnings, err
}

func TestDefaults(t *testing.T) {
	cfg, warnings, err := load(t, nil)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, Defaults(), cfg)
	require.Equal(t, 5, cfg.Slots)
	require.Equal(t, 50, cfg.Lifetime.Sessions)
	require.Equal(t, ":3131", cfg.Listen)
	require.Equal(t, 300*time.Second, cfg.Drain)
}

func TestWellKnownVariables(t *testing.T) {
	cfg, _, err := load(t, []string{
		"REDIS_URL=redis://r:1", "PORT=4000", "PRIVATE_HOSTNAME=worker-7.internal", "MAX_CONCURRENT_SESSIONS=7", "MAX_LIFETIME_SESSIONS=0",
		"BROWSER_TYPE=firefox", "HEADLESS=false", "LOG_LEVEL=warn", "LOG_FORMAT=json",
		`PWDIST_BROWSER__ARGS=["--a=1,2","--b"]`, "PWDIST_LABELS=region=eu,gpu=no",
	})
	require.NoError(t, err)
	require.Equal(t, "redis://r:1", cfg.Redis.URL)
	require.Equal(t, ":4000", cfg.Listen)
	require.Equal(t, "worker-7.internal", cfg.Advertise)
	require.Equal(t, 7, cfg.Slots)
	require.Zero(t, cfg.Lifetime.Sessions)
	require.Equal(t, "firefox", cfg.Browser.Type)
	require.False(t, cfg.Browser.Headless)
	require.Equal(t, []string{"--a=1,2", "--b"}, cfg.Browser.Args)
	require.Equal(t, map[string]string{"region": "eu", "gpu": "no"}, cfg.Labels)
}

func TestWrongSettingsAreAllNamed(t *testing.T) {
	_, _, err := load(t, nil, "--slots=0", "--browser.type=opera", "--lifetime.jitter=2", "--lifetime.sessions=-1", "--listen=nowhere",
		"--advertise=http://x", "--pool=A B", "--drain=-1s", "--relay.stall=1ms", "--browser.start_timeout=0s", "--browser.prepare=tab", "--browser.probe_interval=1ms", "--browser.probe_timeout=0s", "--playwright.node=",
		"--timing.heartbeat=10s", "--labels=gpu type=a100,gpu=", "--ended.max_entries=0", "--ended.max_age=0s")
	require.Error(t, err)
	for _, want := range []string{
		"slots must be at least 1, not 0",
		`browser.type must be chromium, firefox, webkit, not "opera"`,
		"lifetime.jitter must be from 0 to 1, not 2",
		"lifetime.sessions must not be negative, not -1",
		`listen must be an address`,
		`advertise must be a host or host:port that proxies can dial, such as worker-7.internal:3131, not "http://x"`,
		`pool name "A B"`,
		"drain must not be negative",
		"relay.stall must be at least 1s",
		"browser.start_timeout must be at least 1s",
		`browser.prepare must be page, context or nothing, not "tab"`,
		"browser.probe_interval must be at least 1s or 0 = off, not 1ms",
		"browser.probe_timeout must be at least 1s, not 0s",
		"playwright.node is empty",
		"timing.start_lease",
		`labels takes key=value, the key of letters, digits and . _ / -, the value of up to 100 characters, as clients can require it; not "gpu type=a100"`,
		`as clients can require it; not "gpu="`,
		"ended.max_entries must be at least 1",
		"ended.max_age must be at least 1s",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestAPageIsPreparedWhereNobodySeesIt(t *testing.T) {
	c, _, err := load(t, nil)
	require.NoError(t, err)
	require.Equal(t, gate.PreparePage, prepares(c.Browser))
	c, _, err = load(t, nil, "--browser.headless=false")
	require.NoError(t, err)
	require.Equal(t, gate.PrepareContext, prepares(c.Browser))
	c, _, err = load(t, nil, "--browser.type=firefox")
	require.NoError(t, err)
	require.Equal(t, gate.PrepareNothing, prepares(c.Browser))
	c, _, err = load(t, nil, "--browser.headless=false", "--browser.prepare=nothing")
	require.NoError(t, err)
	require.Equal(t, gate.PrepareNothing, prepares(c.Browser))
}

func TestClipboardsAreSharedOnlyByWish(t *testing.T) {
	c, _, err := load(t, nil)
	require.NoError(t, err)
	require.Equal(t, clipboardSession, c.Guard.Clipboard)
	_, _, err = load(t, nil, "--guard.clipboard=all")
	require.ErrorContains(t, err, `guard.clipboard must be session or share, not "all"`)
}

func TestNoWebWithoutSecurityBesideTheGuard(t *testing.T) {
	for _, arg := range []string{"--disable-web-security", "-disable-web-security", "--disable-web-security=true"} {
		_, _, err := load(t, nil, "--browser.args=--lang=en,"+arg)
		require.ErrorContains(t, err, "--disable-web-security", arg)
		_, _, err = load(t, nil, "--browser.args="+arg, "--guard.enabled=false")
		require.NoError(t, err)
	}
}

func TestNoDebuggingPortBesideTheGuard(t *testing.T) {
	for _, arg := range []string{"--remote-debugging-port=0", "-remote-debugging-port=9222", "--remote-debugging-address=0.0.0.0"} {
		_, _, err := load(t, nil, "--browser.args=--lang=en,"+arg)
		require.ErrorContains(t, err, "debugging port", arg)
		_, _, err = load(t, nil, "--browser.args="+arg, "--guard.enabled=false")
		require.NoError(t, err)
	}
	_, _, err := load(t, nil, "--browser.args=--lang=en,--remote-debugging-pipe")
	require.NoError(t, err)
}

func TestWhereAWorkerIsReached(t *testing.T) {
	anywhere := &net.TCPAddr{IP: net.IPv6zero, Port: 3131}
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3131}
	for _, c := range []struct {
		advertise string
		listen    *net.TCPAddr
		redis     string
		want      string
	}{
		{"worker-7.internal", anywhere, "redis://r", "worker-7.internal:3131"},
		{"worker-7.internal:9", anywhere, "redis://r", "worker-7.internal:9"},
		{"10.0.0.7", loopback, "redis://r", "10.0.0.7:3131"},
		{"fd00::7", anywhere, "redis://r", "[fd00::7]:3131"},
		{"[fd00::7]:9", anywhere, "redis://r", "[fd00::7]:9"},
		{"", loopback, "redis://10.1.1.1", "127.0.0.1:3131"},
		{"", anywhere, "redis://127.0.0.1:6379", "127.0.0.1:3131"},
		{"", anywhere, "redis://user:p%40ss@[::1]:6379/2", "[::1]:3131"},
	} {
		require.Equal(t, c.want, endpoint(t.Context(), c.advertise, c.listen, c.redis), "%+v", c)
	}
	// Without a route to Redis there is a guess still.
	host, port, err := net.SplitHostPort(endpoint(t.Context(), "", anywhere, "unix:///run/redis.sock"))
	require.NoError(t, err)
	require.NotNil(t, net.ParseIP(host))
	require.Equal(t, "3131", port)
}

func TestLifetimesVary(t *testing.T) {
	require.Zero(t, lifetime(0, 0.15))
	seen := map[int]bool{}
	for range 2000 {
		require.Equal(t, 3, lifetime(3, 0.15), "tiny ones stay exact")
		require.Equal(t, 50, lifetime(50, 0))
		require.Positive(t, lifetime(1, 1))
		n := lifetime(50, 0.15)
		require.GreaterOrEqual(t, n, 42)
		require.LessOrEqual(t, n, 58)
		seen[n] = true
	}
	require.Greater(t, len(seen), 8, strconv.Itoa(len(seen)))
}
