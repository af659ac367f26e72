// Package edge is the public port: an HTTP engine on nbio's event loop that
// reads upgrade requests, turns each into what the client asks for, and hands
// the connection on. Nothing waits inside its handlers.
package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// Options of the public port.
type Options struct {
	Listen         string
	DefaultBrowser string
	AllowedOrigins []string // Origin headers that are let in; "*" lets in all
	Pollers        int      // event loops
	Relay          relay.Options
	Log            *zap.Logger
	// Refused counts refusals; it may be nil.
	Refused func(refusal.Code)
}

// Upgrade is a client that asks for a browser. Its connection is the
// receiver's now.
type Upgrade struct {
	Client *relay.Client
	Ask    Ask
	Header http.Header // for the worker
	Remote string      // the client's address, without the port
}

// Edge is the public port.
type Edge struct {
	o        Options
	engine   *nbhttp.Engine
	relay    *relay.Relay
	listener *listener
	accept   func(Upgrade)
	draining atomic.Bool
}

const (
	maxHead       = 64 << 10
	headerTimeout = 30 * time.Second
)

// New makes the port; accept gets every client that passed and must not block.
func New(o Options, accept func(Upgrade)) *Edge {
	if o.Refused == nil {
		o.Refused = func(refusal.Code) {}
	}
	e := &Edge{o: o, accept: accept}
	logging.SetLogger(nbioLog{o.Log.Sugar()})
	e.engine = nbhttp.NewEngine(nbhttp.Config{
		Name:          "edge",
		Network:       "tcp",
		Addrs:         []string{o.Listen},
		NPoller:       o.Pollers,
		EpollMod:      nbio.EPOLLET, // level-triggered mode loses what a peer sends before it closes
		ReadLimit:     maxHead,
		KeepaliveTime: headerTimeout,
		Handler:       http.HandlerFunc(e.serve),
		Listen:        e.listen,
		// Handlers only parse and hand on, so a few goroutines serve all.
		MessageHandlerPoolSize: 256,
		SupportServerOnly:      true,
	})
	e.relay = relay.New(e.engine, o.Relay)
	return e
}

// Relay returns the relay that runs on the port's event loop.
func (e *Edge) Relay() *relay.Relay { return e.relay }

// Start listens and serves.
func (e *Edge) Start() error { return e.engine.Start() }

// Addr is the address it listens on.
func (e *Edge) Addr() net.Addr { return e.listener.Addr() }

// Drain stops accepting. Connections that are open stay, and their requests
// are refused.
func (e *Edge) Drain() {
	e.draining.Store(true)
	e.listener.stopAccepting()
}

// Stop closes everything that is left.
func (e *Edge) Stop(ctx context.Context) error {
	e.Drain()
	return e.engine.Shutdown(ctx)
}

func (e *Edge) serve(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		e.plain(w, r)
		return
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, _, err := h.Hijack()
	if err != nil {
		return
	}
	client, err := e.relay.Adopt(conn)
	if err != nil {
		_ = conn.Close()
		return
	}
	ask, err := e.ask(r)
	if err != nil {
		no := refusal.From(err)
		e.o.Refused(no.Code)
		client.Refuse(no.AppendHTTP(nil))
		return
	}
	// The request goes back to the engine's pool when the handler returns.
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote = r.RemoteAddr
	}
	e.accept(Upgrade{Client: client, Ask: ask, Header: dial.Forwarded(r.Header), Remote: strings.Clone(remote)})
}

func (e *Edge) ask(r *http.Request) (Ask, error) {
	if e.draining.Load() {
		return Ask{}, refusal.New(refusal.Draining, "")
	}
	if origin := r.Header.Get("Origin"); origin != "" && !e.allowed(origin) {
		return Ask{}, refusal.New(refusal.ForeignOrigin, "The page is of %s.", clip(origin))
	}
	return parse(r, e.o.DefaultBrowser)
}

func (e *Edge) allowed(origin string) bool {
	for _, a := range e.o.AllowedOrigins {
		if a == "*" || strings.EqualFold(a, origin) {
			return true
		}
	}
	return false
}

// plain answers requests that are not for a WebSocket.
func (e *Edge) plain(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	before, isJSON := strings.CutSuffix(path, "/json")
	_, known := browserOfPath(before)
	switch {
	case isJSON && known && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		// connect('http://…') asks here for the path behind the one it has.
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"wsEndpointPath":"/"}` + "\n"))
		return
	case strings.HasPrefix(r.URL.Path, "/json/") || strings.HasPrefix(r.URL.Path, "/devtools/"):
		e.refuse(w, refusal.New(refusal.CDPClient, ""))
	default:
		if _, known := browserOfPath(r.URL.Path); known {
			e.refuse(w, refusal.New(refusal.UpgradeRequired, ""))
			return
		}
		e.refuse(w, refusal.New(refusal.NotFound, "The path is %s.", clip(r.URL.Path)))
	}
}

func (e *Edge) refuse(w http.ResponseWriter, no refusal.Refusal) {
	e.o.Refused(no.Code)
	no.Write(w)
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Sec-Websocket-Key") != ""
}

// nbioLog puts the library's lines into ours.
type nbioLog struct{ *zap.SugaredLogger }

func (nbioLog) SetLevel(int)                    {}
func (l nbioLog) Debug(format string, v ...any) { l.Debugf(format, v...) }
func (l nbioLog) Info(format string, v ...any)  { l.Debugf(format, v...) }
func (l nbioLog) Warn(format string, v ...any)  { l.Warnf(format, v...) }
func (l nbioLog) Error(format string, v ...any) { l.Warnf(format, v...) }

// listener is a TCP listener that can stop accepting while its engine runs,
// and that waits where nbio would spin: after an error that will not go away
// at once, such as being out of descriptors.
type listener struct {
	net.Listener
	log      *zap.Logger
	stopOnce sync.Once
	stopped  chan struct{}
	released chan struct{}
	relOnce  sync.Once
}

// errorPause is how long accepting rests after an error.
const errorPause = 50 * time.Millisecond

func (e *Edge) listen(network, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 20 * time.Second, Count: 2}}
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	e.listener = &listener{Listener: ln, log: e.o.Log, stopped: make(chan struct{}), released: make(chan struct{})}
	return e.listener, nil
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return c, nil
		}
		select {
		case <-l.stopped:
			<-l.released
			return nil, net.ErrClosed
		default:
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.log.Error("out of file descriptors: raise the limit (ulimit -n) or add a proxy")
		} else {
			l.log.Warn("accept failed", zap.Error(err))
		}
		select {
		case <-l.stopped:
		case <-time.After(errorPause):
		}
	}
}

// Close is part of net.Listener; the engine calls it when it stops.
func (l *listener) Close() error {
	l.stopAccepting()
	l.release()
	return nil
}

func (l *listener) stopAccepting() {
	l.stopOnce.Do(func() {
		close(l.stopped)
		_ = l.Listener.Close()
	})
}

func (l *listener) release() { l.relOnce.Do(func() { close(l.released) }) }
