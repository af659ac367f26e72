package telemetry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// serve starts an admin port and returns what was asked for as its address.
func serve(t *testing.T, listen string, h *telemetry.Health) config.Admin {
	t.Helper()
	a := telemetry.NewAdmin(config.Admin{Listen: listen}, h, telemetry.NewRegistry("test"), zap.NewNop())
	require.NoError(t, a.Start(context.Background()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	if strings.HasPrefix(listen, "unix://") {
		return config.Admin{Listen: listen}
	}
	return config.Admin{Listen: a.Addr()}
}

func TestCheckHealth(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":0", "unix://" + filepath.Join(t.TempDir(), "admin.sock")} {
		h := telemetry.NewHealth("redis", "browser")
		at := serve(t, listen, h)
		require.EqualError(t, telemetry.CheckHealth(context.Background(), at), "not ready: browser (starting), redis (starting)")
		h.SetReady("redis", true, "")
		h.SetReady("browser", false, "crashed")
		require.EqualError(t, telemetry.CheckHealth(context.Background(), at), "not ready: browser (crashed)")
		h.SetReady("browser", true, "")
		require.NoError(t, telemetry.CheckHealth(context.Background(), at))
	}
}

func TestCheckHealthOfNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	}))
	defer other.Close()
	for listen, want := range map[string]string{
		"":                                       "there is no admin port to ask",
		ln.Addr().String():                       "nobody answers at " + ln.Addr().String() + ": dial tcp",
		"unix:///nowhere/admin.sock":             "nobody answers at unix:///nowhere/admin.sock: dial unix",
		strings.TrimPrefix(other.URL, "http://"): "it answers 418",
	} {
		require.ErrorContains(t, telemetry.CheckHealth(context.Background(), config.Admin{Listen: listen}), want)
	}
}

// TestAdminSocket is nobody else's to open, and is in nobody's way after a
// process that could not remove it.
func TestAdminSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	left, err := net.Listen("unix", path)
	require.NoError(t, err)
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, left.Close())

	serve(t, "unix://"+path, telemetry.NewHealth())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	second := telemetry.NewAdmin(config.Admin{Listen: "unix://" + path}, telemetry.NewHealth(), telemetry.NewRegistry("test"), zap.NewNop())
	require.ErrorContains(t, second.Start(context.Background()), "address already in use")
	require.NoError(t, telemetry.CheckHealth(context.Background(), config.Admin{Listen: "unix://" + path}), "the first one still serves")
}
