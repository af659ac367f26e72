package telemetry_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/run"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

var _ run.Component = (*telemetry.Admin)(nil)

func TestReadyWhenAllChecksAre(t *testing.T) {
	h := telemetry.NewHealth("redis", "browser")
	ready, checks := h.Ready()
	require.False(t, ready)
	require.Equal(t, []string{"browser", "redis"}, []string{checks[0].Name, checks[1].Name})
	require.Equal(t, "starting", checks[0].Why)

	h.SetReady("redis", true, "")
	ready, _ = h.Ready()
	require.False(t, ready)
	h.SetReady("browser", true, "ignored when all is well")
	ready, checks = h.Ready()
	require.True(t, ready)
	require.Empty(t, checks[0].Why)

	since := checks[1].Since
	h.SetReady("redis", true, "")
	_, checks = h.Ready()
	require.Equal(t, since, checks[1].Since, "nothing changed")

	h.SetReady("new", false, "not seen before")
	ready, _ = h.Ready()
	require.False(t, ready)

	ready, _ = telemetry.NewHealth().Ready()
	require.True(t, ready)
}

// admin starts an admin port and returns a function that fetches a path.
func admin(t *testing.T, h *telemetry.Health) (*telemetry.Admin, func(path string) (int, string)) {
	t.Helper()
	a := telemetry.NewAdmin(config.Admin{Listen: "127.0.0.1:0"}, h, telemetry.NewRegistry("test"), zap.NewNop())
	a.Handle("GET /extra", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "extra") }))
	require.NoError(t, a.Start(context.Background()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	return a, func(path string) (int, string) {
		resp, err := http.Get("http://" + a.Addr() + path)
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
}

func TestAdminPort(t *testing.T) {
	h := telemetry.NewHealth("redis")
	_, get := admin(t, h)

	status, body := get("/healthz")
	require.Equal(t, 200, status)
	require.Equal(t, "ok\n", body)

	status, body = get("/readyz")
	require.Equal(t, 503, status)
	var answer struct {
		Ready  bool
		Checks []telemetry.Check
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.False(t, answer.Ready)
	require.Equal(t, "starting", answer.Checks[0].Why)
	h.SetReady("redis", true, "")
	status, _ = get("/readyz")
	require.Equal(t, 200, status)

	_, body = get("/metrics")
	require.Regexp(t, `(?m)^pwdist_build_info\{go="go1[^"]*",service="test",version="dev"\} 1`, body)
	require.Contains(t, body, "go_goroutines ")
	require.Contains(t, body, "process_open_fds ")

	status, body = get("/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, status)
	require.Contains(t, body, "goroutine profile")
	_, body = get("/extra")
	require.Equal(t, "extra", body)
	status, _ = get("/nothing")
	require.Equal(t, 404, status)
}

func TestAdminPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	a := telemetry.NewAdmin(config.Admin{Listen: ln.Addr().String()}, telemetry.NewHealth(), telemetry.NewRegistry("test"), zap.NewNop())
	require.ErrorContains(t, a.Start(context.Background()), "admin port: listen tcp "+ln.Addr().String())
	require.NoError(t, a.Stop(context.Background()))
}

func TestNoAdminPort(t *testing.T) {
	a := telemetry.NewAdmin(config.Admin{}, telemetry.NewHealth(), telemetry.NewRegistry("test"), zap.NewNop())
	require.NoError(t, a.Start(context.Background()))
	require.Empty(t, a.Addr())
	require.NoError(t, a.Stop(context.Background()))
}

// TestAdminStopCutsWhatRuns: a profile that still runs, or a body that never comes, must not hold up
// the end, however long the process may take to stop. It is no failure either.
func TestAdminStopCutsWhatRuns(t *testing.T) {
	for name, c := range map[string]struct{ all, own time.Duration }{
		"all of the stop has a limit": {all: 10 * time.Millisecond, own: time.Hour},
		"and what is asked, too":      {all: time.Hour, own: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			a := telemetry.NewAdmin(config.Admin{Listen: "127.0.0.1:0"}, telemetry.NewHealth(), telemetry.NewRegistry("test"), zap.NewNop())
			a.SetStopTime(c.own)
			entered := make(chan struct{})
			a.Handle("/slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(entered)
				<-r.Context().Done()
			}))
			require.NoError(t, a.Start(context.Background()))
			failed := make(chan error, 1)
			go func() {
				resp, err := http.Get("http://" + a.Addr() + "/slow")
				if err == nil {
					_ = resp.Body.Close()
				}
				failed <- err
			}()
			<-entered
			ctx, cancel := context.WithTimeout(context.Background(), c.all)
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- a.Stop(ctx) }()
			select {
			case err := <-stopped:
				require.NoError(t, err)
			case <-time.After(10 * time.Second):
				t.Fatal("it waits for the request")
			}
			require.Error(t, <-failed)
		})
	}
}

// logged returns what a logger writes to standard error.
func logged(t *testing.T, l config.Log, use func(*zap.Logger)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stderr")
	f, err := os.Create(path)
	require.NoError(t, err)
	before := os.Stderr
	os.Stderr = f
	log, err := telemetry.NewLogger(l, "pwdist-test")
	os.Stderr = before
	require.NoError(t, err)
	use(log)
	require.NoError(t, f.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestLogger(t *testing.T) {
	say := func(log *zap.Logger) {
		log.Debug("not shown")
		log.Info("served", zap.Duration("took", 1500*time.Millisecond))
	}
	// A file is no terminal.
	for _, format := range []string{"auto", "json", ""} {
		out := logged(t, config.Log{Level: "info", Format: format}, say)
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(out), &line), "one line of JSON: %s", out)
		require.Equal(t, "pwdist-test", line["service"])
		require.Equal(t, "served", line["msg"])
		require.Equal(t, "info", line["level"])
		require.Equal(t, "1.5s", line["took"])
		_, err := time.Parse(time.RFC3339Nano, line["time"].(string))
		require.NoError(t, err)
	}
	out := logged(t, config.Log{Level: "info", Format: "console"}, say)
	require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3}  INFO  pwdist-test  served  \{"took": "1.5s"\}\n$`, out)
	out = logged(t, config.Log{Level: "debug", Format: "json"}, say)
	require.Contains(t, out, "not shown")
}

func TestLoggerRefusesWrongSettings(t *testing.T) {
	_, err := telemetry.NewLogger(config.Log{Level: "loud"}, "x")
	require.ErrorContains(t, err, "log.level")
	_, err = telemetry.NewLogger(config.Log{Level: "info", Format: "xml"}, "x")
	require.ErrorContains(t, err, "log.format")
}

// TestMetricsInProtobuf: only so do native histograms reach a scraper.
func TestMetricsInProtobuf(t *testing.T) {
	a, _ := admin(t, telemetry.NewHealth())
	req := httptest.NewRequest(http.MethodGet, "http://"+a.Addr()+"/metrics", nil)
	req.RequestURI = ""
	req.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, resp.Header.Get("Content-Type"), "application/vnd.google.protobuf")
}
