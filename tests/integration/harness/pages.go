package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// ExampleTitle is the title of the page that stands for example.com.
const ExampleTitle = "Example Domain"

// Pages serves what the browsers open, on http and https, under public names:
// the browsers of a pool resolve example.com, *.test and site.localhost, which is
// secure without a certificate, to it and no other name.
//
//	/            a page; its title is ExampleTitle on example.com, else the host
//	/hold?key=K  a page that arrives after Release(K)
//	/headers     the headers and the body of the request
//	/cached      another number each time, which may be cached for an hour
type Pages struct {
	plain, tls *httptest.Server

	mu    sync.Mutex
	holds map[string]*hold
	made  int // of numbers for /cached
}

type hold struct {
	arrived, released chan struct{}
	once, free        sync.Once
}

func startPages() *Pages {
	p := &Pages{holds: map[string]*hold{}}
	p.plain, p.tls = httptest.NewServer(p), httptest.NewTLSServer(p)
	return p
}

// StartPages serves pages for a test that has no [Pool].
func StartPages(tb testing.TB) *Pages {
	p := startPages()
	tb.Cleanup(p.stop)
	return p
}

func (p *Pages) stop() {
	p.mu.Lock()
	for _, h := range p.holds {
		h.free.Do(func() { close(h.released) })
	}
	p.mu.Unlock()
	p.plain.Close()
	p.tls.Close()
}

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		h := p.hold(r.URL.Query().Get("key"))
		h.once.Do(func() { close(h.arrived) })
		select {
		case <-h.released:
		case <-r.Context().Done():
			return
		}
	}
	switch r.URL.Path {
	case "/headers":
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode([]any{r.Header, string(body)}) // the browser may be gone
		return
	case "/cached":
		p.mu.Lock()
		p.made++
		n := p.made
		p.mu.Unlock()
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = fmt.Fprint(w, n)
		return
	}
	title := r.Host
	if host, _, _ := strings.Cut(r.Host, ":"); host == "example.com" || host == "www.example.com" {
		title = ExampleTitle
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, "<!doctype html><title>%s</title><h1>%[1]s</h1>", html.EscapeString(title)) // the browser may be gone
}

func (p *Pages) hold(key string) *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holds[key]
	if h == nil {
		h = &hold{arrived: make(chan struct{}), released: make(chan struct{})}
		p.holds[key] = h
	}
	return h
}

// Held returns when a browser waits for the page of this key.
func (p *Pages) Held(tb testing.TB, key string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case <-p.hold(key).arrived:
	case <-ctx.Done():
		tb.Fatalf("no browser asked for the page %q", key)
	}
}

// Release lets the page of this key arrive.
func (p *Pages) Release(key string) {
	h := p.hold(key)
	h.free.Do(func() { close(h.released) })
}

// BrowserArgs are the arguments with which a Chromium finds the pages.
func (p *Pages) BrowserArgs() []string {
	var rules []string
	for _, name := range []string{"example.com", "www.example.com", "*.test", "site.localhost"} {
		rules = append(rules, "MAP "+name+":80 "+host(p.plain), "MAP "+name+":443 "+host(p.tls))
	}
	rules = append(rules, "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1")
	return []string{"--ignore-certificate-errors", "--host-resolver-rules=" + strings.Join(rules, ", ")}
}

func host(s *httptest.Server) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		panic(err) // httptest made it
	}
	return u.Host
}
