package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// attempt is one way to the victim, by its name in clients/node/egress.mjs.
type attempt struct {
	name string
	hit  string // what the victim notes; the name unless set
	// mute attempts end in the browser itself under the guard, or are datagrams:
	// the proxy has nothing to refuse.
	mute bool
	// guarded attempts cannot be made without the guard in this test.
	guarded bool
}

var wayOut = []attempt{
	{name: "goto"}, {name: "goto decimal"}, {name: "goto octal"}, {name: "goto hex"}, {name: "goto short"}, {name: "goto wide digits"},
	{name: "goto ipv6"}, {name: "goto mapped"}, {name: "goto mapped hex"}, {name: "goto zero"}, {name: "goto other loopback", hit: "-"},
	{name: "goto localhost"}, {name: "goto name"}, {name: "goto name with dot"}, {name: "goto user"}, {name: "goto tls", hit: "raw by tcp"},
	{name: "redirect"}, {name: "redirect 307"}, {name: "refresh"}, {name: "location"}, {name: "form"}, {name: "open"},
	{name: "fetch"}, {name: "fetch no-cors"}, {name: "fetch redirect"}, {name: "fetch keepalive"}, {name: "xhr"}, {name: "beacon"}, {name: "events"},
	{name: "image"}, {name: "frame"}, {name: "object"}, {name: "embed"}, {name: "video"}, {name: "style"}, {name: "font"}, {name: "script"}, {name: "import"},
	{name: "prefetch"}, {name: "preload"}, {name: "preconnect", hit: "preconnect by tcp"}, {name: "ping"}, {name: "download"}, {name: "csp report"},
	{name: "worker"}, {name: "service worker"}, {name: "service worker script"},
	{name: "websocket"}, {name: "websocket tls", hit: "raw by tcp"}, {name: "websocket route"},
	{name: "stun", hit: "stun by udp", mute: true}, {name: "turn", hit: "turn by udp", mute: true}, {name: "turn tcp", hit: "turn by tcp"},
	{name: "turn tls", hit: "turn by tcp"}, {name: "ice", hit: "ice by udp", mute: true}, {name: "ice tcp", hit: "ice by tcp", mute: true},
	{name: "webtransport", hit: "quic by udp", mute: true},
	{name: "context request"}, {name: "context request redirect"}, {name: "page request"}, {name: "route fetch"}, {name: "route continue"},
	{name: "proxy of a context", hit: "proxy by tcp", mute: true},
	{name: "rebinding", guarded: true},
}

func (a attempt) noted() string {
	if a.hit != "" {
		return a.hit
	}
	return strings.ReplaceAll(a.name, " ", "-")
}

// walker is a client that makes attempts, see clients/node/egress.mjs.
type walker struct {
	in  io.Writer
	out *bufio.Scanner
}

func newWalker(t *testing.T, url, targets string) *walker {
	t.Helper()
	c := exec.CommandContext(t.Context(), "node", "egress.mjs", url, targets)
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
	return &walker{in: in, out: bufio.NewScanner(out)}
}

func (w *walker) try(t *testing.T, kind, name string) (outcome string) {
	t.Helper()
	_, err := fmt.Fprintf(w.in, "%s\n", harness.List(kind, name))
	require.NoError(t, err)
	require.True(t, w.out.Scan(), "the client has ended")
	var line struct{ Name, Outcome string }
	require.NoError(t, json.Unmarshal(w.out.Bytes(), &line), w.out.Text())
	require.Equal(t, name, line.Name)
	return line.Outcome
}

// refusals adds up what the worker's egress guard has refused.
func refusals(t *testing.T, worker *harness.Service) (n int) {
	t.Helper()
	status, text := worker.Get("/metrics")
	require.Equal(t, http.StatusOK, status)
	for _, m := range regexp.MustCompile(`(?m)^pwdist_worker_egress_refusals_total\{.*\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		one, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		n += one
	}
	return n
}

// Every way from a page, or from its client, to a server on loopback: each leads
// there without the guard, and none does with it.
func TestWhatPagesReach(t *testing.T) {
	v := newVictim(t)
	_, port, err := net.SplitHostPort(v.web)
	require.NoError(t, err)
	app, _ := newApp(t, "0"), newApp(t, port) // and one where the victim has its port, for rebinding
	targets := v.targets(t, app.URL, app.URL, "1")

	t.Run("without the guard", func(t *testing.T) {
		p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
			"guard.client_proxy": "allow", "browser.args": harness.List("--ignore-certificate-errors", "--host-resolver-rules=MAP victim.test 127.0.0.1"),
		}})
		w := newWalker(t, p.URL(""), targets)
		for _, a := range wayOut {
			if a.guarded || a.hit == "-" {
				continue
			}
			t.Run(a.name, func(t *testing.T) {
				outcome := w.try(t, "attempt", a.name)
				t.Log(outcome)
				harness.Await(t, "it got through", func() bool { return v.has(a.noted()) })
			})
		}
	})

	v.hits = map[string]int{}
	t.Run("with the guard", func(t *testing.T) {
		p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
			"egress.guard": "true", "egress.allow": "127.0.0.2", "egress.dns": names(t), "browser.args": "[]",
		}})
		w := newWalker(t, p.URL(""), targets)
		for _, a := range wayOut {
			t.Run(a.name, func(t *testing.T) {
				before := refusals(t, p.Workers[0])
				outcome := w.try(t, "attempt", a.name)
				t.Log(outcome)
				if !a.mute {
					harness.Await(t, "it was refused", func() bool { return refusals(t, p.Workers[0]) > before })
				}
				require.NotContains(t, outcome, "secret of the victim")
				require.Empty(t, v.all(), "got through")
			})
		}
		log := p.Workers[0].Process().Output()
		require.Contains(t, log, "refused a connection of a page")
		require.NotContains(t, log, "/hit/")
	})
	require.Empty(t, v.all(), "got through in the end")
}

// What the application under test needs works through the guard as without it,
// and what does not work says why.
func TestAnAllowedApplication(t *testing.T) {
	v := newVictim(t)
	app, other := newApp(t, "0"), newApp(t, "0")
	gone := newApp(t, "0")
	_, down, err := net.SplitHostPort(gone.Listener.Addr().String())
	require.NoError(t, err)
	gone.Close()
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
		"egress.guard": "true", "egress.allow": "127.0.0.0/28,app.test", "egress.deny": "127.0.0.1", "egress.dns": names(t), "browser.args": "[]",
	}})
	w := newWalker(t, p.URL(""), v.targets(t, app.URL, other.URL, down))
	for _, c := range []struct{ name, want string }{
		{"page", "app"},
		{"page by name", "app"},
		{"websocket echo", "hello"},
		{"fetch of another", "from the app"},
		{"upload", "20000000"},
		{"download", strconv.Itoa(bigBody)},
		{"events", "event 2"},
		{"request", "from the app"},
		{"down", "net::ERR_EMPTY_RESPONSE"},
		{"down tls", "net::ERR_TUNNEL_CONNECTION_FAILED"},
		{"no such name", "net::ERR_EMPTY_RESPONSE"},
		{"refused", "403 Refused: the pool's egress guard refuses " + v.web + ": that is an address that the pool's operator has ruled out"},
		{"refused tls", "net::ERR_TUNNEL_CONNECTION_FAILED"},
		{"refused request", "403 Refused: the pool's egress guard refuses " + v.web},
	} {
		t.Run(c.name, func(t *testing.T) { require.Contains(t, w.try(t, "pass", c.name), c.want) })
	}
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
