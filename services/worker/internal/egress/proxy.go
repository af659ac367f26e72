// Package egress is the way of a worker's pages to the network: an HTTP proxy
// that connects to the public Internet and to what an operator allows, and to
// nothing else. The browser is told to use it for everything.
package egress

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const (
	dialTimeout = 30 * time.Second
	// headTime is how long a browser may take to send the head of a request,
	// including the time for which it keeps an unused connection open.
	headTime = 2 * time.Minute
	// lingerTime is how long a server may be silent in a tunnel that the browser
	// has ended.
	lingerTime = 30 * time.Second
	// stuckTime is how long a server may take nothing of what a page sends. Behind bytes
	// that wait for it nobody sees that the browser has ended.
	stuckTime = 10 * time.Minute
	// logged is how many lines about refusals may come at once, and loggedEvery
	// how soon one more: pages make them. The others are for debugging.
	logged      = 10
	loggedEvery = 10 * time.Second
)

// Options of a proxy.
type Options struct {
	Allow []string // hosts, addresses and ranges that are open beyond the public Internet
	Deny  []string // the same, closed whatever else is open
	// Own are the host:port of the pool's services. They stay closed in a range
	// that is allowed, and open only where that very host:port is allowed.
	Own []string

	Log        *zap.Logger
	Registerer prometheus.Registerer
	// Resolver is for the names that pages ask for; nil is the system's. The system's finds
	// the pool's services, since that is how the worker finds them.
	Resolver *net.Resolver
}

// Proxy is a component of package run.
type Proxy struct {
	guard   *guard
	dialer  *dialer
	log     *zap.Logger
	loud    *rate.Limiter
	refusal *prometheus.CounterVec
	tunnels prometheus.Gauge
	linger  time.Duration // lingerTime, but for tests
	stuck   time.Duration // stuckTime, but for tests

	quiet     *stdlog.Logger // of net/http, which tells of every connection that breaks
	forwarder *httputil.ReverseProxy

	server   *http.Server
	listener net.Listener
	served   chan struct{}
	ctx      context.Context // ends with the proxy
	cancel   context.CancelFunc
}

// New reads the rules.
func New(o Options) (*Proxy, error) {
	allow, err := parseEntries("egress.allow", o.Allow)
	if err != nil {
		return nil, err
	}
	g := &guard{allow: allow, resolver: o.Resolver, machine: net.DefaultResolver, local: localAddrs, cache: map[question]lookup{}}
	if g.resolver == nil {
		g.resolver = g.machine
	}
	for _, list := range []struct {
		setting string
		names   []string
		class   Class
	}{{"a service of the pool", o.Own, PoolService}, {"egress.deny", o.Deny, Denied}} {
		es, err := parseEntries(list.setting, list.names)
		if err != nil {
			return nil, err
		}
		for _, e := range es {
			g.kept = append(g.kept, kept{entry: e, class: list.class})
		}
	}
	f := promauto.With(o.Registerer)
	p := &Proxy{
		guard: g,
		log:   o.Log,
		loud:  rate.NewLimiter(rate.Every(loggedEvery), logged),
		refusal: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_egress_refusals_total",
			Help: "Connections of pages that the egress guard refused, by what the address is.",
		}, []string{"reason"}),
		tunnels: f.NewGauge(prometheus.GaugeOpts{
			Name: "pwdist_worker_egress_tunnels",
			Help: "Tunnels that are open through the egress guard: TLS connections and WebSockets of pages.",
		}),
		linger: lingerTime, stuck: stuckTime,
		served: make(chan struct{}),
	}
	for c := range text {
		p.refusal.WithLabelValues(string(c))
	}
	p.dialer = &dialer{guard: g, timeout: dialTimeout, refused: p.count}
	if p.quiet, err = zap.NewStdLogAt(p.log, zap.DebugLevel); err != nil {
		return nil, err
	}
	p.forwarder = p.newForwarder()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Name implements run.Component.
func (p *Proxy) Name() string { return "egress" }

// Start opens a port on loopback, which is the proxy's.
func (p *Proxy) Start(ctx context.Context) error {
	var err error
	var lc net.ListenConfig
	if p.listener, err = lc.Listen(ctx, "tcp4", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("egress guard: %w", err)
	}
	own, err := parseEntry(p.listener.Addr().String())
	if err != nil {
		return err
	}
	p.guard.kept = append(p.guard.kept, kept{entry: own, class: PoolService})
	p.server = &http.Server{
		Handler: p, ReadHeaderTimeout: headTime, IdleTimeout: headTime, ErrorLog: p.quiet,
		BaseContext: func(net.Listener) context.Context { return p.ctx },
		ConnContext: withUpstream, ConnState: closeUpstream,
	}
	go func() {
		defer close(p.served)
		if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("the egress guard ended: pages reach nothing any more", zap.Error(err))
		}
	}()
	return nil
}

// Stop ends the proxy with all of its connections: the browser has gone.
func (p *Proxy) Stop(context.Context) error {
	p.cancel()
	err := p.server.Close()
	<-p.served
	return err
}

// Port is where the proxy listens, on 127.0.0.1, once it has started.
func (p *Proxy) Port() int {
	if a, ok := p.listener.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		p.forward(w, r)
	default:
		http.Error(w, "This is the proxy of a worker's browser, which takes requests for other servers only.", http.StatusBadRequest)
	}
}

// count notes a refusal. The log gets no more of the address than a host, which
// DNS keeps short.
func (p *Proxy) count(r *Refusal) {
	p.refusal.WithLabelValues(string(r.Class)).Inc()
	level := zap.DebugLevel
	if p.loud.Allow() {
		level = zap.InfoLevel
	}
	p.log.Log(level, "refused a connection of a page", zap.String("target", r.Target), zap.String("reason", string(r.Class)))
}

// explain answers with a refusal. The browser shows it as the page where the
// request was in the clear; a client's own request gets it as its answer.
func explain(w http.ResponseWriter, r *Refusal) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Pwdist-Egress", "refused; reason="+string(r.Class))
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, "Refused: %s.\n\nPages of this pool reach the public Internet only. If this is the application under test, the pool's operator can allow it: egress.allow takes hosts, host:port and ranges.\n", sentence(r.Error())) //nolint:gosec // it is plain text, and marked so
}

func sentence(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// target is the host:port of an authority.
func target(authority, defaultPort string) (string, error) {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		if _, e := netip.ParseAddr(authority); e != nil && defaultPort == "" {
			return "", err
		}
		host, port = trimBrackets(authority), defaultPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("%q is no host and port", authority)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

func trimBrackets(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
