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
	"syscall"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// Options of the public port.
type Options struct {
	Listen         string
	DefaultBrowser string
	AllowedOrigins []string // Origin headers that are let in; "*" lets in all
	Trusted        Trusted  // balancers that say whose connection they pass on
	Pollers        int      // event loops
	// Listener is a socket that listens already; nil has Start open one.
	Listener net.Listener
	// Tokens let clients in; nil lets in everybody.
	Tokens *tokens.Store
	// HeaderTimeout is how long a client may take to send its request; 0 is 10 s.
	HeaderTimeout time.Duration
	// Pending bounds the connections of an address that is neither loopback nor
	// trusted whose request is not complete; 0 = no limit.
	Pending int
	// Failures is how many wrong credentials of an address are answered in a
	// minute, before it is told to stop; 0 = no limit.
	Failures int
	Relay    relay.Options
	Log      *zap.Logger
	// Refused counts refusals; it may be nil.
	Refused func(refusal.Code)

	opened func(*nbio.Conn) // is told of every connection, in tests
}

// Upgrade is a client that asks for a browser. Its connection is the
// receiver's now.
type Upgrade struct {
	Client *relay.Client
	Ask    Ask
	Token  tokens.Token
	Header http.Header // for the worker
	Remote string      // the client's address, without the port; a trusted balancer's word for it
}

// Edge is the public port.
type Edge struct {
	o        Options
	engine   *nbhttp.Engine
	relay    *relay.Relay
	listener *listener
	accept   func(Upgrade)
	draining atomic.Bool
	stopping atomic.Bool // the loop drops everything
	buffers  sync.Pool
	pending  *pending
	// unfinished are the connections whose request is not complete. The engine opens each
	// before it accepts the next one, so when accepting has stopped all are there.
	unfinished tally
	failures   *failures
}

const (
	maxRequest    = 64 << 10
	readSize      = 8 << 10
	headerTimeout = 10 * time.Second
)

// New makes the port; accept gets every client that passed and must not block.
func New(o Options, accept func(Upgrade)) *Edge {
	if o.Refused == nil {
		o.Refused = func(refusal.Code) {}
	}
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = headerTimeout
	}
	e := &Edge{o: o, accept: accept, pending: newPending(o.Pending), failures: newFailures(o.Failures)}
	e.buffers.New = func() any { b := make([]byte, readSize); return &b }
	logging.SetLogger(nbioLog{o.Log.Sugar()})
	fewerPlaces()
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

// fewerPlaces has nbio's table, and the relay's, have no more places than there can
// be descriptors: they have two million otherwise, through which every collection
// of garbage goes.
var fewerPlaces = sync.OnceFunc(func() {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur < uint64(nbio.MaxOpenFiles) {
		nbio.MaxOpenFiles = int(files.Cur)
	}
})

// Relay returns the relay that the port's clients belong to.
func (e *Edge) Relay() *relay.Relay { return e.relay }

// Start listens and serves. The engine would stop itself when it cannot listen,
// and now and then wait forever for a poller that has just begun.
func (e *Edge) Start() error {
	ln := e.o.Listener
	if ln == nil {
		var lc net.ListenConfig
		var err error
		if ln, err = lc.Listen(context.Background(), "tcp", e.o.Listen); err != nil {
			return err
		}
	}
	l, err := newListener(ln, e.o.Log)
	if err != nil {
		return err
	}
	e.listener = l
	if err := e.engine.Start(); err != nil {
		return err
	}
	if err := e.relay.Park(); err != nil {
		e.o.Log.Warn("an event loop waits in a system call, which costs more", zap.Error(err))
	}
	close(l.ready)
	return nil
}

// Addr is the address it listens on.
func (e *Edge) Addr() net.Addr { return e.listener.Addr() }

// Socket is the listening socket, to be passed on.
func (e *Edge) Socket() *net.TCPListener { return e.listener.tcp }

// Leave stops accepting for a process that has the same socket, or will have it. The requests
// of the connections that are open are served as ever; the channel is closed
// when the last of them is complete.
func (e *Edge) Leave() <-chan struct{} {
	e.listener.stop()
	settled := make(chan struct{})
	go func() {
		<-e.listener.quiet
		<-e.unfinished.none(time.Time{})
		close(settled)
	}()
	return settled
}

// Drain stops accepting. Connections that are open stay, and their requests
// are refused; so are those of the clients that wait to be accepted, unless Leave came
// before. It gives the requests of those who have come just now the time to arrive.
func (e *Edge) Drain() {
	e.draining.Store(true)
	e.listener.end()
	<-e.listener.quiet
	timer := time.NewTimer(time.Until(e.listener.until))
	defer timer.Stop()
	select {
	// Who has said nothing for longer has nothing to ask, most likely.
	case <-e.unfinished.none(e.listener.ended.Add(-e.listener.sweep)):
	case <-timer.C:
	}
}

// Stop closes everything that is left.
func (e *Edge) Stop(ctx context.Context) error {
	e.Drain()
	e.stopping.Store(true)
	e.relay.Close()
	return e.engine.Shutdown(ctx)
}

// serve takes the connection of every request: nbio only watches it, and one
// that is refused shall get the whole answer.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request) {
	d, client, err := e.adopt(w)
	if err != nil {
		return // it has left, or the proxy stops
	}
	defer e.unfinished.leave(d)
	trim(r.Header)
	if !isWebSocket(r) {
		client.Refuse(e.plain(r))
		return
	}
	if !upgrades(r.Header) {
		client.Refuse(e.refusal(r, refusal.New(refusal.UpgradeRequired, "Its Connection header does not say 'upgrade'.")))
		return
	}
	remote := e.o.Trusted.client(hostOf(r.RemoteAddr), r.Header)
	ask, token, err := e.ask(r, remote)
	if err != nil {
		client.Refuse(e.refusal(r, refusal.From(err)))
		return
	}
	dial.Strip(r.Header) // a map of its own for each request
	e.accept(Upgrade{Client: client, Ask: ask, Token: token, Header: r.Header, Remote: remote})
}

// hostOf is an address without its port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// ask reads who wants what. Strangers learn nothing about the rest of their
// request, and a web page learns nothing about its token.
func (e *Edge) ask(r *http.Request, remote string) (Ask, tokens.Token, error) {
	if e.draining.Load() {
		return Ask{}, tokens.Token{}, refusal.New(refusal.Draining, "")
	}
	for _, origin := range r.Header.Values("Origin") {
		if !e.allowed(origin) {
			return Ask{}, tokens.Token{}, refusal.New(refusal.ForeignOrigin, "The page is of %s.", clip(origin))
		}
	}
	token, err := e.authorize(r, remote)
	if err != nil {
		return Ask{}, tokens.Token{}, err
	}
	ask, err := parse(r, e.o.DefaultBrowser)
	return ask, token, err
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

// nbioLog puts the library's lines into ours.
type nbioLog struct{ *zap.SugaredLogger }

func (nbioLog) SetLevel(int)                    {}
func (l nbioLog) Debug(format string, v ...any) { l.Debugf(format, v...) }
func (l nbioLog) Info(format string, v ...any)  { l.Debugf(format, v...) }
func (l nbioLog) Warn(format string, v ...any)  { l.Warnf(format, v...) }
func (l nbioLog) Error(format string, v ...any) { l.Warnf(format, v...) }
