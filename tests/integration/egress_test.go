package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The attempts of clients/node/egress.mjs that end in the browser itself under
// the guard, or are datagrams: the proxy has nothing to refuse.
var mute = []string{"stun", "turn", "ice", "ice tcp", "webtransport", "proxy of a context", "client certificate"}

var attempts = slices.Concat([]string{
	"goto", "goto decimal", "goto octal", "goto hex", "goto short", "goto wide digits", "goto ipv6", "goto mapped", "goto mapped hex",
	"goto zero", "goto localhost", "goto name", "goto name with dot", "goto user", "goto tls",
	"redirect", "redirect 307", "refresh", "location", "form", "open",
	"fetch", "fetch no-cors", "fetch redirect", "fetch keepalive", "xhr", "beacon", "events",
	"image", "frame", "object", "embed", "video", "style", "font", "script", "import", "prefetch", "preload", "ping", "download", "csp report",
	"worker", "service worker", "service worker script", "websocket", "websocket tls", "websocket route", "turn tcp", "turn tls",
	"context request", "context request redirect", "page request", "route fetch", "route continue", "rebinding",
}, mute)

// walk runs one part of clients/node/egress.mjs. What it leaves open stays so
// until the test has ended.
func walk(t *testing.T, url, targets, part string) (outcomes map[string]string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "node", "egress.mjs", url, targets, part)
	c.Dir, c.Stderr = harness.NodeDir(), os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	outcomes = map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Name, Outcome string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line), lines.Text())
		if line.Name == "end" {
			return outcomes
		}
		outcomes[line.Name] = line.Outcome
	}
	t.Fatal("the client has ended: ", outcomes)
	return nil
}

// Every way from a page, or from its client, to a server on loopback: each leads
// there without the guard, and none does with it.
func TestWhatPagesReach(t *testing.T) {
	needLandlock(t)
	app := newApp(t, "0")

	t.Run("without the guard", func(t *testing.T) {
		v := newVictim(t, attempts)
		newApp(t, strconv.Itoa(v.ports["rebinding"]))
		p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
			"guard.client_proxy": "allow", "browser.args": harness.List("--ignore-certificate-errors",
				"--host-resolver-rules=MAP victim.test 127.0.0.1, MAP victim.test. 127.0.0.1, MAP rebinding.test 127.0.0.1"),
		}})
		outcomes := walk(t, p.URL(""), v.targets(t, app.URL, ""), "attempts")
		require.Len(t, outcomes, len(attempts))
		for _, name := range attempts {
			t.Run(name, func(t *testing.T) {
				t.Log(outcomes[name])
				harness.Await(t, "it got through", func() bool { return v.has(name) })
			})
		}
	})

	t.Run("with the guard", func(t *testing.T) {
		v := newVictim(t, attempts)
		newApp(t, strconv.Itoa(v.ports["rebinding"]))
		p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
			"egress.guard": "true", "egress.allow": "127.0.0.2", "egress.dns": names(t), "browser.args": "[]",
			// Not even where clients may call anything, such as for a proxy of their own.
			"guard.enabled": "false", "browser.confine": "on",
		}})
		outcomes := walk(t, p.URL(""), v.targets(t, app.URL, ""), "attempts")
		for _, name := range attempts {
			t.Run(name, func(t *testing.T) {
				t.Log(outcomes[name])
				require.NotContains(t, outcomes[name], "secret of the victim")
				if !slices.Contains(mute, name) {
					refused := fmt.Sprintf(`:%d", "reason": "`, v.ports[name])
					harness.Await(t, "it was refused", func() bool { return strings.Contains(p.Workers[0].Process().Output(), refused) })
				}
				require.False(t, v.has(name), "it got through")
			})
		}
		require.Empty(t, v.all(), "got through")
		require.True(t, strings.HasPrefix(outcomes["rebinding"], "app, then "), outcomes["rebinding"])
		require.NotContains(t, p.Workers[0].Process().Output(), "/hit", "paths are in the log")
		_, metrics := p.Workers[0].Get("/metrics")
		require.Regexp(t, `(?m)^pwdist_worker_egress_refusals_total\{reason="loopback"\} [1-9]`, metrics)
	})
}

// What the application under test needs works through the guard as without it,
// and what does not work says why.
func TestAnAllowedApplication(t *testing.T) {
	want := map[string]string{
		"page":             "app",
		"page by name":     "app",
		"websocket echo":   "hello",
		"fetch of another": "from the app",
		"upload":           "20000000",
		"download":         strconv.Itoa(bigBody),
		"events":           "event 2",
		"request":          "from the app",
		"down":             "net::ERR_EMPTY_RESPONSE",
		"down tls":         "net::ERR_TUNNEL_CONNECTION_FAILED",
		"no such name":     "net::ERR_EMPTY_RESPONSE",
		"refused":          "403 Refused: The pool's egress guard refuses ",
		"refused tls":      "net::ERR_TUNNEL_CONNECTION_FAILED",
		"refused request":  "403 Refused: The pool's egress guard refuses ",
	}
	v := newVictim(t, slices.Sorted(maps.Keys(want)))
	app, other := newApp(t, "0"), newApp(t, "0")
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
		"egress.guard": "true", "egress.allow": "127.0.0.0/28,app.test", "egress.deny": "127.0.0.1", "egress.dns": names(t), "browser.args": "[]",
	}})
	outcomes := walk(t, p.URL(""), v.targets(t, app.URL, other.URL), "pass")
	require.Len(t, outcomes, len(want))
	for name, text := range want {
		t.Run(name, func(t *testing.T) { require.Contains(t, outcomes[name], text) })
	}
	require.Contains(t, outcomes["refused"], "that is an address that the pool's operator has ruled out (egress.deny)")
	require.Empty(t, v.all())
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
