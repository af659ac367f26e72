package edge

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Ask is what a client's upgrade request means.
type Ask struct {
	Demand state.Demand
	Name   string
	Labels map[string]string
	// Wait is how long the client is willing to wait; 0 = the pool's default.
	Wait time.Duration
}

// browsers are the browsers of Playwright.
var browsers = map[string]bool{"chromium": true, "firefox": true, "webkit": true}

// chrome is what other tools call their Chromium.
var synonyms = map[string]string{"chrome": "chromium"}

const (
	maxName   = 200
	maxLabels = 16
)

// parse reads a request for a browser.
func parse(r *http.Request, defaultBrowser string) (Ask, error) {
	inPath, ok := browserOfPath(r.URL.Path)
	if !ok {
		return Ask{}, notFound(r)
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Ask{}, refusal.New(refusal.BadQuery, "%s.", err)
	}
	var a Ask
	for key, values := range q {
		if err := a.parameter(key, values); err != nil {
			return Ask{}, err
		}
	}
	header := r.Header.Get("X-Playwright-Browser")
	agent := r.Header.Get("User-Agent")
	if cdp(agent, header, a.Demand.Browser+inPath) {
		return Ask{}, refusal.New(refusal.CDPClient, "")
	}
	// Clients send it empty where they want nothing. The server of a shared browser does
	// not look at it, and pages would fail where nobody looks for the reason.
	if wanted := r.Header.Get("X-Playwright-Proxy"); wanted != "" {
		return Ask{}, refusal.New(refusal.ExposeNetwork, "It is %q.", clip(wanted))
	}
	for _, name := range []string{a.Demand.Browser, inPath, header, defaultBrowser} {
		if name != "" {
			if a.Demand.Browser, err = browser(name); err != nil {
				return Ask{}, err
			}
			break
		}
	}
	a.Demand.Playwright = versionOf(agent)
	return a, nil
}

func notFound(r *http.Request) refusal.Refusal {
	return refusal.New(refusal.NotFound, "The path is %s.", clip(r.URL.Path))
}

// cdp recognises clients that speak the DevTools protocol: Playwright's own
// connectOverCDP sends its User-Agent but names no browser.
func cdp(agent, header, named string) bool {
	return strings.Contains(agent, "Puppeteer") || header == "" && named == "" && strings.HasPrefix(agent, "Playwright/")
}

func browser(name string) (string, error) {
	b := strings.ToLower(name)
	if s, ok := synonyms[b]; ok {
		b = s
	}
	if !browsers[b] {
		return "", refusal.New(refusal.UnknownBrowser, "There is no browser %q.", clip(name))
	}
	return b, nil
}

// browserOfPath reads the paths under which this and other pools are known:
// "/", "/<browser>", "/playwright/<browser>" and "/<browser>/playwright".
func browserOfPath(path string) (string, bool) {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	switch {
	case len(parts) == 0:
		return "", true
	case len(parts) == 1 && parts[0] == "playwright":
		return "", true
	case len(parts) == 1 && known(parts[0]):
		return parts[0], true
	case len(parts) == 2 && parts[0] == "playwright" && known(parts[1]):
		return parts[1], true
	case len(parts) == 2 && parts[1] == "playwright" && known(parts[0]):
		return parts[0], true
	}
	return "", false
}

func known(name string) bool { return browsers[name] || synonyms[name] != "" }

// parameters are the query parameters and what they take.
var parameters = []string{"browser", "isolation", "label", "name", "require", "timeout", "token"}

func (a *Ask) parameter(key string, values []string) error {
	if len(values) > 1 && key != "label" && key != "require" {
		return refusal.New(refusal.BadQuery, "%s is given %d times.", clip(key), len(values))
	}
	v := values[0]
	var err error
	switch key {
	case "browser":
		a.Demand.Browser, err = browser(v)
	case "isolation":
		if v != "context" && v != "browser" {
			return refusal.New(refusal.BadQuery, "isolation is context or browser, not %q.", clip(v))
		}
		a.Demand.Isolation = v
	case "name":
		if len(v) > maxName || !state.Printable(v) {
			return refusal.New(refusal.BadQuery, "name takes up to %d printable characters.", maxName)
		}
		a.Name = v
	case "label":
		a.Labels, err = pairs(key, values)
	case "require":
		a.Demand.Require, err = pairs(key, values)
	case "timeout":
		a.Wait, err = wait(v)
	case "token": // read where credentials are checked
	default:
		return refusal.New(refusal.BadQuery, "There is no parameter %q. Known are %s.", clip(key), strings.Join(parameters, ", "))
	}
	return err
}

// wait reads a duration, or a number of milliseconds as Playwright's own
// timeouts are.
func wait(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if ms, e := strconv.ParseInt(v, 10, 32); e == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err != nil || d <= 0 {
		return 0, refusal.New(refusal.BadQuery, "timeout is a time above 0 such as 30s, or milliseconds, not %q.", clip(v))
	}
	return d, nil
}

func pairs(key string, values []string) (map[string]string, error) {
	if len(values) > maxLabels {
		return nil, refusal.New(refusal.BadQuery, "%s is given %d times; %d are the most.", key, len(values), maxLabels)
	}
	m := map[string]string{}
	for _, text := range values {
		k, v, ok := strings.Cut(text, "=")
		if !ok || !state.ValidLabel(k, v) {
			return nil, refusal.New(refusal.BadQuery, "%s takes %s; not %q.", key, state.LabelRule, clip(text))
		}
		if _, twice := m[k]; twice {
			return nil, refusal.New(refusal.BadQuery, "%s names %q twice.", key, clip(k))
		}
		m[k] = v
	}
	return m, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
