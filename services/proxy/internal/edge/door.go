package edge

import (
	"bytes"
	"container/list"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// door is what the loop keeps for a client's connection. Until the request is
// complete it reads for nbio's parser, from a descriptor that is its own; then
// the relay has it.
type door struct {
	parser *nbhttp.Parser // nil once there is a client
	edge   *Edge
	conn   *nbio.Conn
	client atomic.Pointer[relay.Client]

	address netip.Prefix  // of the client, as limits count it
	since   time.Time     // when it was accepted
	place   *list.Element // among the pending, whose lock holds it

	mu   sync.Mutex // holds the descriptor until there is a client
	scan headScan
	size int    // bytes so far
	seen []byte // of a request that came in part
	// numbers are the descriptors under which the loop had the connection
	// before. They are kept, because what happens to it is still told of them.
	numbers []int
	rest    []byte // what is behind the head in what was just read
	closed  bool
	trusted bool // it comes from a balancer
	// rejected tells that it was answered before its request could be handled. What
	// still comes is thrown away.
	rejected bool
}

var _ relay.Watched = (*door)(nil)

var (
	// errRequest stands for what the parser says, which may quote the URL and
	// with it a token.
	errRequest = errors.New("the request cannot be read")
	errTooLong = errors.New("the request is too long")
	errForeign = errors.New("not a connection of the event loop")
)

// open makes a connection's door, before the loop knows of it.
func (e *Edge) open(c *nbio.Conn) {
	if p, ok := c.Session().(*nbhttp.Parser); ok {
		d := &door{parser: p, edge: e, conn: c, since: time.Now()}
		a := c.RemoteAddr()
		if from, ok := a.(returning); ok {
			a, d.since, d.seen, d.numbers = from.Addr, from.since, from.seen, from.numbers
			*from.arrived = true
		}
		if a != nil {
			host := hostOf(a.String())
			d.address, d.trusted = addressOf(host), e.o.Trusted.trustsHost(host)
		}
		c.SetSession(d)
		e.unfinished.enter(d)
		if e.o.opened != nil {
			e.o.opened(c)
		}
		if evict := e.pending.enter(d); evict != nil {
			evict.evict()
		}
	}
}

// evict answers a connection whose request is not complete, and has the loop see its end.
func (d *door) evict() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client.Load() == nil && !d.closed {
		d.reject(refusal.Pending)
		_ = unix.Shutdown(d.conn.Hash(), unix.SHUT_RDWR)
	}
}

// UnderlayerConn is part of nbhttp.ParserCloser; nobody calls it.
func (d *door) UnderlayerConn() net.Conn { return nil }

// Parse is part of nbhttp.ParserCloser; nobody calls it.
func (d *door) Parse([]byte) error { return errors.ErrUnsupported }

// CloseAndClean is called when the loop does not watch the connection any more.
// The parser is left to the garbage collector.
func (d *door) CloseAndClean(err error) {
	if c := d.client.Load(); c != nil {
		c.CloseAndClean(err)
		return
	}
	// This may run inside read, at the end of the request's handler.
	go d.unwatched(err)
}

func (d *door) unwatched(err error) {
	d.mu.Lock()
	c := d.client.Load()
	if c == nil && !d.closed {
		d.closed = true
		if !d.returns(err) {
			if errors.Is(err, nbio.ErrReadTimeout) && d.size > 0 {
				d.reject(refusal.RequestTimeout)
			}
			for _, fd := range append(d.numbers, d.conn.Hash()) {
				_ = unix.Close(fd)
			}
		}
		d.edge.pending.leave(d)
		d.edge.unfinished.leave(d)
	}
	d.mu.Unlock()
	if c != nil {
		c.CloseAndClean(err)
	}
}

// returning is the address of a client whose connection is given to the loop
// once more, with what is known of it.
type returning struct {
	net.Addr
	since   time.Time
	seen    []byte
	numbers []int
	arrived *bool // is set when the loop has it
}

// returns gives the connection to the loop once more if it was dropped by
// mistake: for an event that was meant for an earlier connection, which had the
// same descriptor and was closed while its event waited to be handled.
func (d *door) returns(err error) bool {
	if d.rejected || !errors.Is(err, io.EOF) || d.edge.stopping.Load() {
		return false
	}
	remote := d.conn.RemoteAddr()
	if from, ok := remote.(returning); ok {
		remote = from.Addr
	}
	arrived := false
	known := returning{remote, d.since, d.seen, append(d.numbers, d.conn.Hash()), &arrived}
	conn, lives := relay.Again(d.conn.Hash(), known)
	if !lives {
		return false
	}
	d.edge.engine.AddConnNonTLSNonBlocking(&nbhttp.Conn{Conn: conn}, nil, func() {})
	return arrived // or there was no descriptor left
}

// Ready runs on the loop when there is something to read.
func (d *door) Ready() {
	if c := d.client.Load(); c != nil {
		c.Ready()
		return
	}
	if err := d.read(); err != nil {
		_ = d.conn.CloseWithError(err)
	}
}

// read reads until the request is complete or nothing is left.
func (d *door) read() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.edge.buffers.Get().(*[]byte)
	defer d.edge.buffers.Put(p)
	if seen := d.seen; seen != nil && d.size == 0 {
		d.seen = nil
		if err := d.feed(seen); err != nil {
			d.reject(codeOf(err))
		}
	}
	for d.client.Load() == nil && !d.closed {
		n, err := nowait.Receive(d.conn.Hash(), *p)
		switch {
		case n > 0 && d.rejected:
			if err := d.discard(n); err != nil {
				return err
			}
		case n > 0:
			if err := d.feed((*p)[:n]); err != nil {
				d.reject(codeOf(err))
			}
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		default:
			return net.ErrClosed
		}
	}
	return nil
}

// feed gives the parser what was read, in two steps: a request without a body
// is handled in the first, when what lies behind it can still be told apart.
func (d *door) feed(b []byte) error {
	d.size += len(b)
	if d.size > maxRequest && !d.scan.found() {
		return errTooLong
	}
	if d.size > maxRequest {
		return errRequest
	}
	head := d.scan.end(b)
	d.rest = b[head:]
	for _, part := range [][]byte{b[:head], d.rest} {
		err := d.parser.Parse(part)
		if d.client.Load() != nil || d.closed {
			// Most connections live long, and need neither any more.
			d.parser, d.rest, d.seen = nil, nil, nil
			return nil
		}
		if err != nil {
			return errRequest
		}
	}
	d.seen = append(d.seen, b...)
	return nil
}

const headEnd = "\r\n\r\n"

// headScan finds the empty line that ends a request's head.
type headScan struct{ matched int }

func (s *headScan) found() bool { return s.matched == len(headEnd) }

// end returns where in b the head ends, or the length of b.
func (s *headScan) end(b []byte) int {
	for i, c := range b {
		switch {
		case s.found(): // earlier
			return len(b)
		case c == headEnd[s.matched]:
			if s.matched++; s.found() {
				return i + 1
			}
		case c == '\r':
			s.matched = 1
		default:
			s.matched = 0
		}
	}
	return len(b)
}

// adopt hands the connection of a request to the relay, with what the client
// has sent behind the request.
func (e *Edge) adopt(w http.ResponseWriter) (*door, *relay.Client, error) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return nil, nil, errForeign
	}
	conn, _, err := h.Hijack()
	if err != nil {
		return nil, nil, err
	}
	if hc, ok := conn.(*nbhttp.Conn); ok {
		conn = hc.Conn
	}
	c, ok := conn.(*nbio.Conn)
	if !ok {
		return nil, nil, errForeign
	}
	d, ok := c.Session().(*door)
	if !ok {
		return nil, nil, errForeign
	}
	if d.client.Load() != nil || d.closed {
		return nil, nil, net.ErrClosed // a second request behind the first
	}
	e.pending.leave(d)
	client, err := e.relay.Adopt(c, d.numbers, bytes.Clone(d.rest))
	if err != nil {
		d.closed = true
		e.unfinished.leave(d)
		return nil, nil, err
	}
	d.client.Store(client)
	return d, client, nil
}
