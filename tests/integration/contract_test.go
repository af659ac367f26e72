package integration_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// What the client contract says yes to, with a browser behind it.
func TestClientContract(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"labels": "zone=a,gpu=no"}})
	address := p.Proxy().Address

	t.Run("addresses", func(t *testing.T) {
		for _, url := range []string{
			"ws://" + address, "ws://" + address + "/", "ws://" + address + "/chromium", "ws://" + address + "/playwright/chromium",
			"ws://" + address + "/chromium/playwright", "ws://" + address + "/?browser=chromium", "http://" + address,
			"http://" + address + "/?name=by-http&label=a=b",
		} {
			b, err := harness.TryConnect(t, url)
			require.NoError(t, err, url)
			require.NotEmpty(t, b.Version)
			require.NoError(t, b.Close(), url)
		}
		require.Equal(t, map[string]string{"a": "b"}, p.Log.AwaitSession(t, "by-http", event.SessionEnded).Session.Labels)
	})

	t.Run("name, labels and what a worker must have", func(t *testing.T) {
		b := harness.Connect(t, p.URL("name=check%20out%20%C3%BC&label=team=a&label=run=7&require=zone=a&isolation=context"))
		require.NoError(t, b.Close())
		end := p.Log.AwaitSession(t, "check out ü", event.SessionEnded).Session
		require.Equal(t, map[string]string{"team": "a", "run": "7"}, end.Labels)
		require.Equal(t, "127.0.0.1", end.Client)
		require.Equal(t, "chromium", end.Browser)
		require.Equal(t, b.Version, end.BrowserVersion)
		require.True(t, strings.HasPrefix(end.Playwright, "1.65."), end.Playwright)
	})

	t.Run("the answer names the session", func(t *testing.T) {
		raw := harness.Upgrade(t, address, "/?name=raw", "1.65.1", nil)
		got := raw.Answer(t)
		require.Equal(t, http.StatusSwitchingProtocols, got.Status)
		require.Equal(t, p.Log.AwaitSession(t, "raw", event.SessionStarted).Session.ID, got.Header.Get("x-pwdist-session-id"))
		require.NoError(t, raw.Close())
		p.Log.AwaitSession(t, "raw", event.SessionEnded)
	})

	t.Run("a client without a version gets any", func(t *testing.T) {
		raw := harness.Upgrade(t, address, "/?name=any", "", nil)
		require.Equal(t, http.StatusSwitchingProtocols, raw.Answer(t).Status)
		require.NoError(t, raw.Close())
	})

	t.Run("a large message arrives as it was", func(t *testing.T) {
		page := harness.Connect(t, p.URL("name=large")).OpenPage(t, "http://example.com/")
		const size = 4 << 20
		text := page.Evaluate(t, `'0123456789abcdef'.repeat(`+itoa(size/16)+`)`)
		require.Len(t, text, size)
		require.Equal(t, strings.Repeat("0123456789abcdef", size/16), text)
	})

	t.Run("watching the events", func(t *testing.T) {
		p.CheckSettled(t)
		tail := func(args ...string) []string {
			cmd := exec.Command(harness.Binary(t, "pwdist-events"),
				append([]string{"tail", "--redis", p.Redis.URL, "--from", "0", "--no-follow"}, args...)...)
			out, err := cmd.Output()
			require.NoError(t, err)
			return slices.Collect(strings.Lines(string(out)))
		}
		var types []string
		for _, line := range tail("--json", "--session", p.Log.AwaitSession(t, "raw", event.SessionEnded).Session.ID) {
			var e struct {
				Type string `json:"type"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &e), line)
			types = append(types, e.Type)
		}
		require.Equal(t, []string{"session.assigned", "session.started", "session.ended"}, types)
		require.Len(t, tail(), len(p.Log.All()), "one line for an event")
	})
}
