package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout is for a body that never comes; what an answer takes does not count.
	readTimeout = 10 * time.Second
	// idleTimeout would be readTimeout otherwise, which is too short for who asks
	// every half minute by the same connection.
	idleTimeout = 3 * time.Minute
	// defaultStopTime is what a request that runs may take when the process ends, which
	// waits for nothing else then: a profile can take minutes.
	defaultStopTime = 5 * time.Second
)

// Admin is the private HTTP port of a process: /healthz says 200 while the
// process lives, /readyz 200 or 503 with the checks as JSON, /metrics is for
// Prometheus and /debug/pprof/ for profiles. It is a component of package run.
type Admin struct {
	listen config.Admin
	log    *zap.Logger
	mux    *http.ServeMux
	server *http.Server
	ln     net.Listener

	adopted  bool          // and not served yet
	stopTime time.Duration // defaultStopTime but in tests
}

// NewAdmin makes the port. Its settings are those of [config.Admin]: host:port,
// unix:///path for a socket that only this user can open, or empty for a port
// that never listens.
func NewAdmin(listen config.Admin, h *Health, reg *prometheus.Registry, log *zap.Logger) *Admin {
	a := &Admin{listen: listen, log: log, mux: http.NewServeMux(), stopTime: defaultStopTime}
	a.server = &http.Server{
		Handler:           guard(listen, a.mux, log),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          zap.NewStdLog(log),
	}
	a.Handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	}))
	a.Handle("GET /readyz", readiness(h, listen))
	a.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		Registry:          reg,
		ErrorLog:          zap.NewStdLog(log),
	}))
	a.Handle("/debug/pprof/", http.HandlerFunc(pprof.Index))
	a.Handle("/debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline))
	a.Handle("/debug/pprof/profile", http.HandlerFunc(pprof.Profile))
	a.Handle("/debug/pprof/symbol", http.HandlerFunc(pprof.Symbol))
	a.Handle("/debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	return a
}

func readiness(h *Health, of config.Admin) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a readyAnswer
		a.Ready, a.Checks = h.Ready()
		if secret, err := of.Secret(); of.Protected() && (err != nil || !knows(secret, r)) {
			// A balancer needs no more than the status; the reasons name what is inside.
			for i := range a.Checks {
				a.Checks[i].Why = ""
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if !a.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(a) // whoever asked is gone if this fails
	})
}

// Handle adds a handler under a pattern of http.ServeMux. Call it before Start.
func (a *Admin) Handle(pattern string, handler http.Handler) { a.mux.Handle(pattern, handler) }

// Name implements run.Component.
func (a *Admin) Name() string { return "admin" }

// Start listens and serves until Stop.
func (a *Admin) Start(ctx context.Context) error {
	if a.listen.Listen == "" {
		return nil
	}
	if _, err := a.listen.Secret(); err != nil {
		return err
	}
	if a.ln != nil {
		return nil // see Adopt
	}
	ln, err := listen(ctx, a.listen)
	if err != nil {
		return fmt.Errorf("admin port: %w", err)
	}
	a.ln = ln
	a.serve()
	return nil
}

func (a *Admin) serve() {
	go func() {
		if err := a.server.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			a.log.Error("admin port failed", zap.Error(err))
		}
	}()
}

func listen(ctx context.Context, a config.Admin) (net.Listener, error) {
	var lc net.ListenConfig
	path, ok := a.Socket()
	if !ok {
		return lc.Listen(ctx, "tcp", a.Listen)
	}
	// A process that was killed leaves its socket behind, and nobody can listen
	// there until it is removed. One that answers belongs to somebody.
	var d net.Dialer
	if conn, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// Adopt takes a socket that another process serves, before Start, which leaves
// it to that process until TakeOver.
func (a *Admin) Adopt(ln net.Listener) { a.ln, a.adopted = ln, true }

// TakeOver begins to serve on a socket that was adopted.
func (a *Admin) TakeOver() {
	if a.adopted {
		a.adopted = false
		a.serve()
	}
}

// Socket is the socket that is listened on, to be passed to another process;
// nil without one.
func (a *Admin) Socket() net.Listener { return a.ln }

// Leave stops serving for a process that has the same socket. Connections that are kept
// alive end: whoever asks by one would be told how this process is, not the other.
func (a *Admin) Leave() {
	if u, ok := a.ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its name is the other's
	}
	if a.ln != nil {
		_ = a.ln.Close()
	}
	a.server.SetKeepAlivesEnabled(false)
}

// Addr is the address that is listened on, empty before Start and without one.
func (a *Admin) Addr() string {
	if a.ln == nil {
		return ""
	}
	return a.ln.Addr().String()
}

// Stop waits a moment for running requests, no longer than until ctx ends, and then cuts them.
func (a *Admin) Stop(ctx context.Context) error {
	limited, done := context.WithTimeout(ctx, a.stopTime)
	defer done()
	err := a.server.Shutdown(limited)
	if limited.Err() != nil {
		a.log.Info("cutting what is asked of the admin port")
		return a.server.Close()
	}
	return err
}
