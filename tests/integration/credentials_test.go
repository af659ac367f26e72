package integration_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// newToken makes a token with the program itself.
func newToken(t *testing.T, file, name string, more ...string) string {
	t.Helper()
	args := append([]string{"token", "new", "--name", name, "--file", file}, more...)
	return strings.TrimSpace(runIn(t, t.TempDir(), harness.Binary(t, "pwdist-proxy"), args...))
}

func bearer(secret string) harness.ConnectOptions {
	return harness.ConnectOptions{Headers: map[string]string{"Authorization": "Bearer " + secret}}
}

// Nobody gets a browser without valid credentials where they are set (I10), and
// with them as before; what is secret about them is nowhere.
func TestCredentials(t *testing.T) {
	harness.NeedBrowser(t)
	dir := t.TempDir()
	file, admin := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "admin")
	ci, one := newToken(t, file, "ci"), newToken(t, file, "one", "--max-sessions", "1")
	adminSecret := "pwd_admin-secret-of-this-test-" + ci[4:20]
	require.NoError(t, os.WriteFile(admin, []byte(adminSecret), 0o600))
	wrong := "pwd_nobody-has-this-token-at-all-" + ci[4:20]
	more := harness.Settings{"admin.token_file": admin}
	p := harness.New(t, harness.Options{
		Workers: 1, Common: more,
		Proxy: harness.Settings{"tokens.file": file, "limits.failures": "1000", "trusted_proxies": "127.0.0.1"},
	})
	address := p.Proxy().Address

	// The victim: a session that nothing below may touch.
	fromFar := bearer(ci)
	fromFar.Headers["X-Forwarded-For"] = "1.1.1.1, 203.0.113.9" // as a balancer writes it
	victim := harness.Connect(t, p.URL("name=victim"), fromFar)
	page := victim.OpenPage(t, "https://example.com/")
	started := p.Log.AwaitSession(t, "victim", event.SessionStarted).Session
	require.Equal(t, "ci", started.Token)
	require.Equal(t, "203.0.113.9", started.Client)

	t.Run("stock clients come in", func(t *testing.T) {
		for name, connect := range map[string]func() (*harness.Browser, error){
			"ws and header":   func() (*harness.Browser, error) { return harness.TryConnect(t, p.URL(""), bearer(ci)) },
			"ws and query":    func() (*harness.Browser, error) { return harness.TryConnect(t, p.URL("token="+ci)) },
			"http and query":  func() (*harness.Browser, error) { return harness.TryConnect(t, "http://"+address+"/?token="+ci) },
			"http and header": func() (*harness.Browser, error) { return harness.TryConnect(t, "http://"+address, bearer(ci)) },
		} {
			b, err := connect()
			require.NoError(t, err, name)
			require.NoError(t, b.Close())
		}
		python := filepath.Join(harness.Root(), ".tools/python/bin/python")
		require.FileExists(t, python, "the Python client is not installed: run make install-test")
		home := t.TempDir()
		write(t, home, "in.py", `
import os
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    address, token = os.environ['ADDRESS'], os.environ['TOKEN']
    for url, headers in [(f'ws://{address}', {'Authorization': f'Bearer {token}'}), (f'http://{address}/?token={token}', None)]:
        browser = p.chromium.connect(url, headers=headers)
        print(browser.new_context().new_page().evaluate('1 + 1'))
        browser.close()
    try:
        p.chromium.connect(f'ws://{address}')
    except Exception as e:
        print(e)
`)
		client := harness.Start(t, home, harness.Command{Name: "python", Path: python, Args: []string{"in.py"}, Dir: home,
			Env: []string{"ADDRESS=" + address, "TOKEN=" + ci}})
		t.Cleanup(client.Kill)
		require.Zero(t, client.ExitCode(t, 2*harness.Patience))
		require.Equal(t, 2, strings.Count(client.Output(), "2\n"), client.Output())
		require.Contains(t, client.Output(), "No token was sent.")
	})

	t.Run("others are told why not", func(t *testing.T) {
		for url, want := range map[string]string{
			p.URL(""):                                       "No token was sent.",
			p.URL("token=" + wrong):                         "The pool has no such token.",
			"http://" + address + "/?token=" + wrong:        "The pool has no such token.",
			p.URL("token=" + ci[:len(ci)-1] + "&name=ally"): "The pool has no such token.",
		} {
			_, err := harness.TryConnect(t, url)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, "401")
			require.ErrorContains(t, err, "headers option of connect()")
		}
		got := harness.Upgrade(t, address, "/?token="+ci, "1.65.1", harness.Headers{"Origin": "null"}).Answer(t)
		require.Equal(t, http.StatusForbidden, got.Status, "a web page, even with a token")
	})

	t.Run("a limit of sessions", func(t *testing.T) {
		b := harness.Connect(t, p.URL("name=first"), bearer(one))
		_, err := harness.TryConnect(t, p.URL("name=second"), bearer(one))
		require.ErrorContains(t, err, "Token one may have 1, waiting ones included.")
		require.ErrorContains(t, err, "429")
		require.Equal(t, event.ReasonTokenLimit, p.Log.AwaitSession(t, "second", event.SessionRejected).Session.Reason)
		raw := harness.Upgrade(t, address, "/?token="+one, "1.65.1", nil).Answer(t)
		require.NotEmpty(t, raw.Header.Get("Retry-After"))
		require.NoError(t, b.Close())
		p.Log.AwaitSession(t, "first", event.SessionEnded)
		require.NoError(t, harness.Connect(t, p.URL("name=third"), bearer(one)).Close())
	})

	t.Run("the admin port", func(t *testing.T) {
		for _, s := range []*harness.Service{p.Proxy(), p.Workers[0]} {
			status, _ := s.Get("/healthz")
			require.Equal(t, http.StatusOK, status)
			for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/heap"} {
				status, _ = s.Get(path)
				require.Equal(t, http.StatusUnauthorized, status, "%s %s", s.Name, path)
			}
		}
		status, _ := p.Proxy().Get("/api/v1/sessions")
		require.Equal(t, http.StatusUnauthorized, status)
	})

	t.Run("a token is taken back", func(t *testing.T) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		entries := strings.SplitAfterN(string(text), "- name: one", 2)
		require.NoError(t, os.WriteFile(file+".new", []byte("tokens:\n  - name: one"+entries[1]), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
		harness.Await(t, "the token lets nobody in", func() bool {
			return harness.Upgrade(t, address, "/?browser=netscape&token="+ci, "1.65.1", nil).Answer(t).Status == http.StatusUnauthorized
		})
		require.NoError(t, os.WriteFile(file, []byte("tokens: ["), 0o600))
		p.Proxy().Process().Signal(t, syscall.SIGHUP)
		harness.Await(t, "a broken file is told of", func() bool {
			return strings.Contains(p.Proxy().Process().Output(), "cannot read the tokens again")
		})
		require.NoError(t, harness.Connect(t, p.URL(""), bearer(one)).Close())
	})

	title, err := page.Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title, "who is in stays, whatever happens to the token")

	t.Run("the secrets are nowhere", func(t *testing.T) {
		places := map[string]string{"redis": everythingIn(t, p)}
		for _, s := range []*harness.Service{p.Proxy(), p.Workers[0]} {
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.Process().PID()))
			require.NoError(t, err)
			places[s.Name+" command line"] = string(cmdline)
			places[s.Name+" log"] = s.Process().Output()
			for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/cmdline"} {
				places[s.Name+" "+path] = ask(t, s, path, adminSecret)
			}
		}
		for _, path := range []string{"/api/v1/sessions", "/api/v1/fleet", "/api/v1/queue"} {
			places[path] = ask(t, p.Proxy(), path, adminSecret)
		}
		require.Contains(t, places["proxy1 /metrics"], `pwdist_proxy_token_sessions_started_total{token="ci"}`)
		require.Contains(t, places["/api/v1/sessions"], `"ci"`)
		require.Contains(t, places["redis"], "victim", "the search sees what there is")
		for place, text := range places {
			require.NotEmpty(t, text, place)
			for what, secret := range map[string]string{"ci": ci, "one": one, "a wrong one": wrong, "admin": adminSecret} {
				require.NotContains(t, text, secret[4:], "the secret %s is in %s", what, place)
			}
		}
	})
}

// ask reads a page of an admin port with its secret.
func ask(t *testing.T, s *harness.Service, path, secret string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Admin+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+secret)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode, path)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// everythingIn is all that Redis has, events included, as text.
func everythingIn(t *testing.T, p *harness.Pool) string {
	t.Helper()
	c, ctx := p.Redis.Client, context.Background()
	names, err := c.Do(ctx, c.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	var b strings.Builder
	for _, name := range names {
		kind, err := c.Do(ctx, c.B().Type().Key(name).Build()).ToString()
		require.NoError(t, err)
		command := map[string][]string{
			"string": {"GET", name}, "hash": {"HGETALL", name}, "set": {"SMEMBERS", name}, "zset": {"ZRANGE", name, "0", "-1"}, "stream": {"XRANGE", name, "-", "+"},
		}[kind]
		if command == nil {
			continue // it has gone
		}
		value, err := c.Do(ctx, c.B().Arbitrary(command...).Build()).ToAny()
		require.NoError(t, err)
		_, _ = fmt.Fprintln(&b, name, value)
	}
	return b.String()
}
