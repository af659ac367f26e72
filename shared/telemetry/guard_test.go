package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// knock starts an admin port and returns what asks it for a path.
func knock(t *testing.T, c config.Admin, h *telemetry.Health, log *zap.Logger) (addr string, ask func(path string, change func(*http.Request)) (int, string)) {
	t.Helper()
	a := telemetry.NewAdmin(c, h, telemetry.NewRegistry("test"), log)
	require.NoError(t, a.Start(context.Background()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	return a.Addr(), func(path string, change func(*http.Request)) (int, string) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+a.Addr()+path, nil)
		require.NoError(t, err)
		if change != nil {
			change(r)
		}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode, string(body)
	}
}

func bearer(secret string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
}

func TestAdminSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("open-sesame\n"), 0o600))
	for name, c := range map[string]config.Admin{
		"setting": {Listen: "127.0.0.1:0", Token: "open-sesame"}, "file": {Listen: "127.0.0.1:0", TokenFile: file},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			h := telemetry.NewHealth()
			h.SetReady("redis", false, "no route to 10.1.2.3")
			addr, ask := knock(t, c, h, zap.New(core))
			for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/api/v1/sessions", "/", "//healthz", "/healthz/../metrics"} {
				for what, change := range map[string]func(*http.Request){
					"nothing": nil, "wrong": bearer("open-sesam"), "empty": bearer(""), "other scheme": func(r *http.Request) { r.Header.Set("Authorization", "Digest open-sesame") },
					"as user": func(r *http.Request) { r.SetBasicAuth("open-sesame", "") },
				} {
					status, body := ask(path, change)
					require.Equal(t, http.StatusUnauthorized, status, "%s with %s: %s", path, what, body)
				}
			}
			for _, change := range []func(*http.Request){bearer("open-sesame"), func(r *http.Request) { r.SetBasicAuth("any", "open-sesame") }} {
				status, body := ask("/metrics", change)
				require.Equal(t, http.StatusOK, status)
				require.Contains(t, body, "go_goroutines")
			}
			status, _ := ask("/healthz", nil)
			require.Equal(t, http.StatusOK, status)
			status, body := ask("/readyz", nil)
			require.Equal(t, http.StatusServiceUnavailable, status, "a balancer needs no secret")
			require.NotContains(t, body, "10.1.2.3", "and need not know more")
			_, body = ask("/readyz", bearer("open-sesame"))
			require.Contains(t, body, "10.1.2.3")

			asked := c
			asked.Listen = addr
			require.EqualError(t, telemetry.CheckHealth(context.Background(), asked), "not ready: redis (no route to 10.1.2.3)")
			for _, e := range logs.All() {
				require.NotContains(t, e.Message, "sesam")
				require.NotContains(t, fmt.Sprint(e.ContextMap()), "sesam")
			}
		})
	}
	// A secret that is changed counts from the next request on; one that is gone opens nothing.
	core, logs := observer.New(zap.DebugLevel)
	_, ask := knock(t, config.Admin{Listen: "127.0.0.1:0", TokenFile: file}, telemetry.NewHealth(), zap.New(core))
	require.NoError(t, os.WriteFile(file, []byte("other"), 0o600))
	status, _ := ask("/metrics", bearer("open-sesame"))
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = ask("/metrics", bearer("other"))
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, secret := range []string{"", "other"} {
		status, body := ask("/metrics", bearer(secret))
		require.Equal(t, http.StatusServiceUnavailable, status, "nothing that the client sends would do")
		require.Contains(t, body, "admin.token_file")
		require.NotContains(t, body, file)
		status, _ = ask("/readyz", bearer(secret))
		require.Equal(t, http.StatusOK, status)
	}
	told := logs.FilterLevelExact(zap.ErrorLevel).All()
	require.Len(t, told, 2)
	require.Contains(t, fmt.Sprint(told[0].ContextMap()), file)
	err := telemetry.NewAdmin(config.Admin{Listen: "127.0.0.1:0", TokenFile: file}, telemetry.NewHealth(), telemetry.NewRegistry("test"), zap.NewNop()).Start(context.Background())
	require.ErrorContains(t, err, "is empty")
}

// TestAdminAndWebPages: a page in a browser on this machine sends requests to
// loopback, under any name that it had its DNS give this address.
func TestAdminAndWebPages(t *testing.T) {
	_, ask := knock(t, config.Admin{Listen: "127.0.0.1:0"}, telemetry.NewHealth(), zap.NewNop())
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	head := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, change := range map[string]func(*http.Request){
		"rebinding": host("evil.example"), "rebinding with a port": host("evil.example:9090"), "rebinding, localhost in front": host("localhost.evil.example"),
		"another site": head("Sec-Fetch-Site", "cross-site"), "same site": head("Sec-Fetch-Site", "same-site"),
		"origin": head("Origin", "https://evil.example"), "no origin": head("Origin", "null"),
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline"} {
			status, _ := ask(path, change)
			require.Equal(t, http.StatusForbidden, status, "%s %s", name, path)
		}
		status, _ := ask("/healthz", change)
		require.Equal(t, http.StatusOK, status)
	}
	for name, change := range map[string]func(*http.Request){
		"address": nil, "localhost": host("localhost:9090"), "LOCALHOST": host("LOCALHOST"), "IPv6": host("[::1]:9090"), "typed in": head("Sec-Fetch-Site", "none"),
	} {
		status, _ := ask("/metrics", change)
		require.Equal(t, http.StatusOK, status, name)
	}
	_, ask = knock(t, config.Admin{Listen: "127.0.0.1:0", Insecure: true}, telemetry.NewHealth(), zap.NewNop())
	status, _ := ask("/metrics", host("metrics.internal:9090"))
	require.Equal(t, http.StatusOK, status, "who leaves it open knows the names of his network")
}
