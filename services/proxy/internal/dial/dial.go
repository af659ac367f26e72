// Package dial connects to a granted worker: one TCP connection, the client's
// own handshake passed on, and the worker's answer. Nothing is told to the
// client before the answer is there, so a worker that fails costs it only time.
package dial

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/keepalive"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Upgrade is what a client sent and what its worker must know about it.
type Upgrade struct {
	Header  http.Header // the client's headers, without what is not for the worker
	Proxy   string
	Voucher string // by which workers know the proxy, and nobody else does
	Name    string
	Labels  string // JSON
	Token   string // name of the token, never the token
	Client  string
}

// Conn is a worker's connection behind its 101.
type Conn struct {
	net.Conn
	Head  []byte // the answer, complete with its empty line
	Early []byte // what came behind it already
}

// Dialer connects to workers.
type Dialer struct {
	// Probe has the kernel find workers that are gone, for sessions that nobody
	// pings. Else pings and heartbeats do, and probes would do harm (package
	// keepalive).
	Probe bool
	// Open connects to an address that is no name, where the kernel does not
	// probe; nil does as net.Dialer. It does not wait, and may leave it to the
	// first write to tell that there is no connection.
	Open func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds a call of Dial; 0 = its context alone does. It costs less
	// than a context with a deadline.
	Timeout time.Duration
}

// Dial connects to the worker of a grant and passes the handshake on. The
// context bounds all of it.
func (d Dialer) Dial(ctx context.Context, g state.Grant, u Upgrade) (*Conn, error) {
	var until time.Time
	if d.Timeout > 0 {
		until = time.Now().Add(d.Timeout)
	}
	c, err := d.open(ctx, g.Endpoint, until)
	if err != nil {
		return nil, err
	}
	if d.Timeout > 0 {
		_ = c.SetDeadline(until)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	conn, err := handshake(c, g, u)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if d.Timeout > 0 {
		_ = c.SetDeadline(time.Time{})
	}
	return conn, nil
}

func (d Dialer) open(ctx context.Context, endpoint string, until time.Time) (net.Conn, error) {
	if d.Open != nil && !d.Probe {
		if a, err := netip.ParseAddrPort(endpoint); err == nil && a.Addr().Zone() == "" {
			return d.Open(ctx, "tcp", endpoint)
		}
	}
	dialer := net.Dialer{KeepAlive: -1, Deadline: until}
	if d.Probe {
		dialer.KeepAliveConfig = keepalive.Config()
	}
	return dialer.DialContext(ctx, "tcp", endpoint)
}

// readers are of one size; a session needs one for its worker's answer only.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func handshake(c net.Conn, g state.Grant, u Upgrade) (*Conn, error) {
	if _, err := c.Write(request(g, u)); err != nil {
		return nil, err
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(c)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	head, status, err := readAnswer(r)
	if err != nil {
		return nil, err
	}
	if status != http.StatusSwitchingProtocols {
		return nil, refused(head, status, r)
	}
	early, _ := r.Peek(r.Buffered())
	return &Conn{Conn: c, Head: head, Early: bytes.Clone(early)}, nil
}
