package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// asking is a request as the listener hands it on.
func asking(target string, headers ...string) *http.Request {
	path, query, _ := strings.Cut(target, "?")
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Header: h}
}

// many is a query of n labels.
func many(key string, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s=k%d%%3Dv", key, i)
	}
	return strings.Join(all, "&")
}

func TestParse(t *testing.T) {
	t.Parallel()
	demand := func(browser string) Ask { return Ask{Demand: state.Demand{Browser: browser}} }
	const agent, named = "User-Agent", "X-Playwright-Browser"
	sixteen := map[string]string{}
	for i := range 16 {
		sixteen[fmt.Sprint("k", i)] = "v"
	}
	tests := []struct {
		target  string
		headers []string
		want    Ask
	}{
		{"/", nil, demand("webkit")}, // the default here
		{"", nil, demand("webkit")},
		{"//", nil, demand("webkit")},
		{"/playwright", nil, demand("webkit")},
		{"/chromium", nil, demand("chromium")},
		{"/firefox/", nil, demand("firefox")},
		{"/chrome", nil, demand("chromium")},
		{"/playwright/firefox", nil, demand("firefox")},
		{"/firefox/playwright", nil, demand("firefox")},
		{"/chrome/playwright/", nil, demand("chromium")},

		{"/?browser=firefox", nil, demand("firefox")},
		{"/?browser=Chrome", nil, demand("chromium")},
		{"/?browser=FIREFOX", nil, demand("firefox")},
		{"/", []string{named, "firefox"}, demand("firefox")},
		{"/chromium", []string{named, "firefox"}, demand("chromium")},
		{"/chromium?browser=webkit", []string{named, "firefox"}, demand("webkit")},

		{"/", []string{named, "firefox", agent, "Playwright/1.56.1 (x64; debian 12) node/20.1"},
			Ask{Demand: state.Demand{Browser: "firefox", Playwright: "1.56"}}},
		{"/", []string{named, "firefox", agent, "Playwright/1.57.0-alpha-2025"}, Ask{Demand: state.Demand{Browser: "firefox", Playwright: "1.57"}}},
		{"/", []string{named, "firefox", agent, "Playwright/12.100"}, Ask{Demand: state.Demand{Browser: "firefox", Playwright: "12.100"}}},
		{"/", []string{named, "firefox", agent, "Playwright/next"}, demand("firefox")},
		{"/", []string{named, "firefox", agent, "not Playwright/1.56.1"}, demand("firefox")},
		{"/firefox", []string{agent, "Playwright/1.56.1"}, Ask{Demand: state.Demand{Browser: "firefox", Playwright: "1.56"}}},
		{"/?browser=firefox", []string{agent, "Playwright/1.56.1"}, Ask{Demand: state.Demand{Browser: "firefox", Playwright: "1.56"}}},
		{"/", []string{agent, "curl/8"}, demand("webkit")},
		{"/", []string{"X-Playwright-Proxy", ""}, demand("webkit")},

		{"/?isolation=context", nil, Ask{Demand: state.Demand{Browser: "webkit", Isolation: "context"}}},
		{"/?isolation=browser", nil, Ask{Demand: state.Demand{Browser: "webkit", Isolation: "browser"}}},
		{"/?token=whatever", nil, demand("webkit")},
		{"/?name=My+test+%C3%A9", nil, Ask{Demand: state.Demand{Browser: "webkit"}, Name: "My test é"}},
		{"/?name=" + strings.Repeat("n", 200), nil, Ask{Demand: state.Demand{Browser: "webkit"}, Name: strings.Repeat("n", 200)}},
		{"/?label=team%3Da&label=ci/run.id_-=7%3D8", nil,
			Ask{Demand: state.Demand{Browser: "webkit"}, Labels: map[string]string{"team": "a", "ci/run.id_-": "7=8"}}},
		{"/?require=gpu=1", nil, Ask{Demand: state.Demand{Browser: "webkit", Require: map[string]string{"gpu": "1"}}}},
		{"/?" + many("label", 16), nil, Ask{Demand: state.Demand{Browser: "webkit"}, Labels: sixteen}},
		{"/?label=" + strings.Repeat("k", 63) + "=" + strings.Repeat("v", 100), nil,
			Ask{Demand: state.Demand{Browser: "webkit"}, Labels: map[string]string{strings.Repeat("k", 63): strings.Repeat("v", 100)}}},
		{"/?timeout=90s", nil, Ask{Demand: state.Demand{Browser: "webkit"}, Wait: 90 * time.Second}},
		{"/?timeout=1500", nil, Ask{Demand: state.Demand{Browser: "webkit"}, Wait: 1500 * time.Millisecond}},
		{"/?timeout=1m30s", nil, Ask{Demand: state.Demand{Browser: "webkit"}, Wait: 90 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			got, err := parse(asking(tt.target, tt.headers...), "webkit")
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const labels = "label takes key=value, the key of letters, digits and . _ / -, the value of up to 100 characters; not "
	tests := []struct {
		target  string
		headers []string
		code    refusal.Code
		detail  string
	}{
		{"/json/version", nil, refusal.NotFound, "The path is /json/version."},
		{"/opera", nil, refusal.NotFound, "The path is /opera."},
		{"/Chromium", nil, refusal.NotFound, "The path is /Chromium."},
		{"/chromium/firefox", nil, refusal.NotFound, "The path is /chromium/firefox."},
		{"/playwright/playwright", nil, refusal.NotFound, "The path is /playwright/playwright."},
		{"/playwright/chromium/x", nil, refusal.NotFound, "The path is /playwright/chromium/x."},
		{"/" + strings.Repeat("x", 100), nil, refusal.NotFound, "The path is /" + strings.Repeat("x", 79) + "…."},

		{"/", []string{"User-Agent", "Playwright/1.56.1 (x64)"}, refusal.CDPClient, ""},
		{"/", []string{"User-Agent", "Puppeteer 24"}, refusal.CDPClient, ""},
		{"/chromium", []string{"User-Agent", "Mozilla Puppeteer"}, refusal.CDPClient, ""},

		{"/", []string{"X-Playwright-Proxy", "<loopback>"}, refusal.ExposeNetwork, `It is "<loopback>".`},
		{"/?browser=opera", nil, refusal.UnknownBrowser, `There is no browser "opera".`},
		{"/?browser=", nil, refusal.UnknownBrowser, `There is no browser "".`},
		{"/", []string{"X-Playwright-Browser", "android"}, refusal.UnknownBrowser, `There is no browser "android".`},

		{"/?name=%zz", nil, refusal.BadQuery, `invalid URL escape "%zz".`},
		{"/?a;b", nil, refusal.BadQuery, "invalid semicolon separator in query."},
		{"/?colour=red", nil, refusal.BadQuery,
			`There is no parameter "colour". Known are browser, isolation, label, name, require, timeout, token.`},
		{"/?name=a&name=b", nil, refusal.BadQuery, "name is given 2 times."},
		{"/?isolation=process", nil, refusal.BadQuery, `isolation is context or browser, not "process".`},
		{"/?name=" + strings.Repeat("n", 201), nil, refusal.BadQuery, "name takes up to 200 printable characters."},
		{"/?name=a%0D%0Ax-pwdist-session:+1", nil, refusal.BadQuery, "name takes up to 200 printable characters."},
		{"/?name=%ff", nil, refusal.BadQuery, "name takes up to 200 printable characters."},
		{"/?" + many("label", 17), nil, refusal.BadQuery, "label is given 17 times; 16 are the most."},
		{"/?" + many("require", 17), nil, refusal.BadQuery, "require is given 17 times; 16 are the most."},
		{"/?label=team", nil, refusal.BadQuery, labels + `"team".`},
		{"/?label=team=", nil, refusal.BadQuery, labels + `"team=".`},
		{"/?label==a", nil, refusal.BadQuery, labels + `"=a".`},
		{"/?label=a%20b=c", nil, refusal.BadQuery, labels + `"a b=c".`},
		{"/?label=a=%0A", nil, refusal.BadQuery, labels + `"a=\n".`},
		{"/?label=a=" + strings.Repeat("v", 101), nil, refusal.BadQuery, labels + `"a=` + strings.Repeat("v", 78) + `…".`},
		{"/?label=a=1&label=a=2", nil, refusal.BadQuery, `label names "a" twice.`},
		{"/?timeout=", nil, refusal.BadQuery, `timeout is a time above 0 such as 30s, or milliseconds, not "".`},
		{"/?timeout=0", nil, refusal.BadQuery, `timeout is a time above 0 such as 30s, or milliseconds, not "0".`},
		{"/?timeout=-5s", nil, refusal.BadQuery, `timeout is a time above 0 such as 30s, or milliseconds, not "-5s".`},
		{"/?timeout=soon", nil, refusal.BadQuery, `timeout is a time above 0 such as 30s, or milliseconds, not "soon".`},
		{"/?timeout=99999999999", nil, refusal.BadQuery, `timeout is a time above 0 such as 30s, or milliseconds, not "99999999999".`},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			_, err := parse(asking(tt.target, tt.headers...), "webkit")
			no, ok := errors.AsType[refusal.Refusal](err)
			require.True(t, ok, "got %v", err)
			require.Equal(t, tt.code, no.Code)
			require.Equal(t, tt.detail, no.Detail)
		})
	}
}

// FuzzParse holds that a request is refused by the table or means something
// that can be told to Redis and to a worker's gate as it is.
func FuzzParse(f *testing.F) {
	f.Add("/", "browser=chromium&name=a", "Playwright/1.56.1", "firefox")
	f.Add("/playwright/chrome", "label=a%3Db&require=c%3Dd&timeout=30s", "curl", "")
	f.Add("/x", "name=%0d%0a", "Puppeteer", "\xff")
	f.Fuzz(func(t *testing.T, path, query, agent, header string) {
		r := &http.Request{URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"User-Agent": {agent}, "X-Playwright-Browser": {header}}}
		a, err := parse(r, "chromium")
		if err != nil {
			_, ok := errors.AsType[refusal.Refusal](err)
			require.True(t, ok, "got %v", err)
			return
		}
		require.True(t, browsers[a.Demand.Browser], a.Demand.Browser)
		require.Regexp(t, `^(\d+\.\d+)?$`, a.Demand.Playwright)
		require.Contains(t, []string{"", "context", "browser"}, a.Demand.Isolation)
		require.GreaterOrEqual(t, a.Wait, time.Duration(0))
		require.LessOrEqual(t, len(a.Name), maxName)
		require.True(t, state.Printable(a.Name))
		for _, m := range []map[string]string{a.Labels, a.Demand.Require} {
			require.LessOrEqual(t, len(m), maxLabels)
			for k, v := range m {
				require.Regexp(t, `^[A-Za-z0-9._/-]{1,63}$`, k)
				require.NotEmpty(t, v)
				require.True(t, state.Printable(v))
			}
		}
	})
}
