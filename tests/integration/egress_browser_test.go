package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Where the kernel does not confine it, the browser sends no datagrams and goes
// through the guard's proxy for everything, by what it is told at its start.
func TestTheBrowserKeepsToItsProxy(t *testing.T) {
	// With this Playwright would let loopback be an exception.
	t.Setenv("PLAYWRIGHT_DISABLE_FORCED_CHROMIUM_PROXIED_LOOPBACK", "1")
	tried := []string{"goto", "goto localhost", "goto tls", "fetch", "websocket", "page request", "turn tcp", "stun", "turn", "ice", "ice tcp", "webtransport", "client certificate"}
	app := newApp(t, "0")
	v := newVictim(t, tried)
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
		"egress.guard": "true", "egress.allow": "127.0.0.2", "egress.dns": names(t), "browser.confine": "off",
		// It would not wait to be told that a server speaks HTTP/3.
		"browser.args": harness.List(fmt.Sprintf("--origin-to-force-quic-on=127.0.0.1:%d", v.ports["goto tls"])),
	}})
	outcomes := walk(t, p.URL(""), v.targets(t, app.URL, ""), "attempts")
	require.Len(t, outcomes, len(tried))
	for _, name := range tried {
		t.Run(name, func(t *testing.T) {
			t.Log(outcomes[name])
			require.False(t, v.has(name), "it got through")
		})
	}
}

// Names that pages use are the proxy's to resolve, as egress.dns says: the browser
// asks nobody. What it asks is in the log of its network, which it writes in order.
func TestTheBrowserResolvesNoNames(t *testing.T) {
	app := newApp(t, "0")
	file := filepath.Join(t.TempDir(), "net.json")
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{
		"egress.guard": "true", "egress.allow": "127.0.0.2", "egress.dns": names(t), "browser.args": harness.List("--log-net-log=" + file), "browser.confine": "off",
	}})
	t.Log(walk(t, p.URL(""), newVictim(t, nil).targets(t, app.URL, ""), "names"))
	var events []netEvent
	harness.Await(t, "the last request is in the log", func() bool {
		events = netLog(t, file)
		return slices.ContainsFunc(events, func(e netEvent) bool { return strings.HasSuffix(e.Params.URL, "/last") })
	})
	asked := map[string]bool{}
	for _, e := range events {
		if e.name == job { // a request that needs none is answered from what the browser knows
			asked[e.Params.Host] = true
		}
	}
	require.Empty(t, asked)
}

// job is the event of a name that the browser resolves.
const job = "HOST_RESOLVER_MANAGER_JOB"

// netEvent is an event of the log that Chromium writes with --log-net-log.
type netEvent struct {
	Type   int
	Params struct{ Host, URL string }
	name   string
}

// netLog reads what there is of a log that is still being written.
func netLog(t *testing.T, file string) (events []netEvent) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	names := map[int]string{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, ",\n")
		var head struct {
			Constants struct {
				Types map[string]int `json:"logEventTypes"` //nolint:tagliatelle // as Chromium writes it
			}
		}
		if bytes.HasPrefix(line, []byte(`{"constants":`)) && json.Unmarshal(append(line, '}'), &head) == nil {
			require.Contains(t, head.Constants.Types, job)
			for name, n := range head.Constants.Types {
				names[n] = name
			}
		}
		var e netEvent
		if len(names) > 0 && json.Unmarshal(line, &e) == nil && e.Type > 0 {
			e.name = names[e.Type]
			events = append(events, e)
		}
	}
	return events
}
