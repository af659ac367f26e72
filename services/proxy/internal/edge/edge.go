// Package edge is the public port: an HTTP engine on nbio's event loop that
// reads upgrade requests, turns each into what the client asks for, and hands
// the connection on. Nothing waits inside its handlers.
package edge

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	// HeaderTimeout is how long a client may take to send its request; 0 is 30 s.
	HeaderTimeout time.Duration
	Relay         relay.Options
	Log           *zap.Logger
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
	buffers  sync.Pool
}

const (
	maxRequest    = 64 << 10
	readSize      = 8 << 10
	headerTimeout = 30 * time.Second
)

// New makes the port; accept gets every client that passed and must not block.
func New(o Options, accept func(Upgrade)) *Edge {
	if o.Refused == nil {
		o.Refused = func(refusal.Code) {}
	}
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = headerTimeout
	}
	e := &Edge{o: o, accept: accept}
	e.buffers.New = func() any { b := make([]byte, readSize); return &b }
	logging.SetLogger(nbioLog{o.Log.Sugar()})
	e.engine = nbhttp.NewEngine(nbhttp.Config{
		Name:    "edge",
		Network: "tcp",
		Addrs:   []string{o.Listen},
		Listen:  func(string, string) (net.Listener, error) { return e.listener, nil },
		NPoller: o.Pollers,
		// Level-triggered events would come again and again for a connection whose
		// other side has no room.
		EpollMod:        nbio.EPOLLET,
		ReadLimit:       maxRequest,
		MaxHTTPBodySize: maxRequest,
		KeepaliveTime:   o.HeaderTimeout,
		Handler:         http.HandlerFunc(e.serve),
		// Handlers only parse and hand on, so the poller runs them itself.
		ServerExecutor:    func(f func()) { f() },
		SupportServerOnly: true,
	})
	e.relay = relay.New(e.engine, e.open, o.Relay)
	return e
}

// Relay returns the relay that the port's clients belong to.
func (e *Edge) Relay() *relay.Relay { return e.relay }

// Start listens and serves. The engine would stop itself when it cannot listen,
// and now and then wait forever for a poller that has just begun.
func (e *Edge) Start() error {
	l, err := listen("tcp", e.o.Listen, e.o.Log)
	if err != nil {
		return err
	}
	e.listener = l
	return e.engine.Start()
}

// Addr is the address it listens on.
func (e *Edge) Addr() net.Addr { return e.listener.Addr() }

// Drain stops accepting. Connections that are open stay, and their requests
// are refused.
func (e *Edge) Drain() {
	e.draining.Store(true)
	e.listener.stop()
}

// Stop closes everything that is left.
func (e *Edge) Stop(ctx context.Context) error {
	e.Drain()
	e.relay.Close()
	return e.engine.Shutdown(ctx)
}

// serve takes the connection of every request: nbio only watches it, and one
// that is refused shall get the whole answer.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request) {
	client, err := e.adopt(w)
	if err != nil {
		return // it has left, or the proxy stops
	}
	if !isUpgrade(r) {
		client.Refuse(e.plain(r))
		return
	}
	ask, err := e.ask(r)
	if err != nil {
		client.Refuse(e.refusal(r, refusal.From(err)))
		return
	}
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote = r.RemoteAddr
	}
	e.accept(Upgrade{Client: client, Ask: ask, Header: dial.Forwarded(r.Header), Remote: remote})
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
func (e *Edge) plain(r *http.Request) []byte {
	path := strings.TrimSuffix(r.URL.Path, "/")
	before, isJSON := strings.CutSuffix(path, "/json")
	_, known := browserOfPath(before)
	switch {
	case isJSON && known && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		// connect('http://…') asks here for the path behind the one it has.
		return bodiless(r, jsonAnswer(`{"wsEndpointPath":"/"}`+"\n"))
	case strings.HasPrefix(r.URL.Path, "/json/") || strings.HasPrefix(r.URL.Path, "/devtools/"):
		return e.refusal(r, refusal.New(refusal.CDPClient, ""))
	}
	if _, known := browserOfPath(r.URL.Path); known {
		return e.refusal(r, refusal.New(refusal.UpgradeRequired, ""))
	}
	return e.refusal(r, notFound(r))
}

func (e *Edge) refusal(r *http.Request, no refusal.Refusal) []byte {
	e.o.Refused(no.Code)
	return bodiless(r, no.AppendHTTP(nil))
}

func jsonAnswer(body string) []byte {
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\nConnection: close\r\n\r\n" + body)
}

// bodiless cuts an answer to its head where only that was asked for.
func bodiless(r *http.Request, answer []byte) []byte {
	if r.Method != http.MethodHead {
		return answer
	}
	var s headScan
	return answer[:s.end(answer)]
}

// websocketVersion is the only version there is (RFC 6455).
const websocketVersion = "13"

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ContentLength <= 0 && len(r.TransferEncoding) == 0 &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		r.Header.Get("Sec-Websocket-Key") != "" && r.Header.Get("Sec-Websocket-Version") == websocketVersion
}

// nbioLog puts the library's lines into ours.
type nbioLog struct{ *zap.SugaredLogger }

func (nbioLog) SetLevel(int)                    {}
func (l nbioLog) Debug(format string, v ...any) { l.Debugf(format, v...) }
func (l nbioLog) Info(format string, v ...any)  { l.Debugf(format, v...) }
func (l nbioLog) Warn(format string, v ...any)  { l.Warnf(format, v...) }
func (l nbioLog) Error(format string, v ...any) { l.Warnf(format, v...) }
