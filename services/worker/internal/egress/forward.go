package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

type upstreamKey struct{}

// upstream has the connections to servers that one connection of the browser
// caused. They are not shared beyond that: a browser keeps the connections of
// its contexts apart, since a server may know a user by the connection.
type upstream struct {
	once      sync.Once
	transport *http.Transport
}

// byConn finds the upstream of a connection that ends.
var byConn sync.Map

func withUpstream(ctx context.Context, c net.Conn) context.Context {
	u := &upstream{}
	byConn.Store(c, u)
	return context.WithValue(ctx, upstreamKey{}, u)
}

func closeUpstream(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if u, ok := byConn.LoadAndDelete(c); ok {
		u.(*upstream).close()
	}
}

func (u *upstream) to(d *dialer) *http.Transport {
	u.once.Do(func() {
		u.transport = &http.Transport{
			DialContext:         d.dial,
			DisableCompression:  true, // what the server sent is what the browser gets
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     headTime,
		}
	})
	return u.transport
}

func (u *upstream) close() {
	u.once.Do(func() {})
	if u.transport != nil {
		u.transport.CloseIdleConnections()
	}
}

// buffers are for bodies that pass.
type buffers struct{ sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.Pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.Pool.Put(&p) }

// RoundTrip implements http.RoundTripper for the connection that a request came
// by.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	u, ok := r.Context().Value(upstreamKey{}).(*upstream)
	if !ok {
		return nil, errors.New("egress: a request without a connection")
	}
	return u.to(p.dialer).RoundTrip(r)
}

func (p *Proxy) newForwarder() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL = exactly(r.In)
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if v, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = v // a page's own
				}
			}
		},
		Transport: p, BufferPool: &buffers{},
		FlushInterval: -1, // a stream of events must not wait for more
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if refusal, ok := errors.AsType[*Refusal](err); ok {
				explain(w, refusal)
				return
			}
			// Anything else would be shown as the server's answer.
			panic(http.ErrAbortHandler)
		},
		ErrorLog: p.quiet,
	}
}

// forward passes on a request that is in the clear.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	if _, err := target(r.URL.Host, "80"); err != nil {
		http.Error(w, "There is no such host and port.", http.StatusBadRequest)
		return
	}
	// What the server does not say is not made up here.
	w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
	p.forwarder.ServeHTTP(w, r)
}

// exactly is the address of a request with path and query as they were sent.
func exactly(r *http.Request) *url.URL {
	u := *r.URL
	_, rest, _ := strings.Cut(r.RequestURI, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 && rest[i] == '/' && !strings.HasPrefix(rest[i:], "//") {
		u.Opaque, _, _ = strings.Cut(rest[i:], "?")
	}
	return &u
}
