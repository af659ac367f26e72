package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// served is a connection to the Playwright server that has said yes.
type served struct {
	*socket
	endpoint browser.Endpoint
	yes      []byte
	in       *bufio.Reader // in which more may be waiting
	request  []byte        // the handshake that it said yes to, or one like it
	like     common        // as which that is
	hello    *advance      // said by the gate in the client's place; nil where it was not
	ready    []*advance    // what the gate has called and heard after that
	veil     *veil         // over what came of it; nil where nothing did
	prepared time.Time     // when that was
}

// say says a hello in the place of the client that is expected to say it.
func (s *served) say(params string) error {
	s.hello = newAdvance(sayHello, "", params)
	_, err := s.Write(s.hello.frame())
	return err
}

// hear takes in the answer to that.
func (s *served) hear() error {
	if s.hello.result != nil {
		return nil
	}
	return s.hello.hear(s.in)
}

// knock passes the handshake on to the server. Where a known proxy brings it,
// the pool is asked about the session only when that is started, and the server
// may have accepted the connection already, or the handshake.
func (g *Gate) knock(ctx context.Context, q request, began time.Time) (*served, error) {
	endpoint, up := g.browser.Current()
	if !up {
		return nil, refusal.New(refusal.BrowserDown, "")
	}
	handshake := q.forward(endpoint.Path, g.o.Guard != nil)
	like := commonOf(handshake, q.keys)
	known := g.proxies.know(q.voucher)
	s := g.prepared(q, began, known, endpoint, handshake, like)
	if s == nil {
		reach := g.reach
		if known {
			reach = g.dial
		}
		c, err := reach(ctx, q, endpoint)
		if err != nil {
			return nil, err
		}
		s, err = shake(c, endpoint, began, handshake)
		if known && errors.As(err, new(*answered)) {
			// Nor is what the server has to say for everybody.
			if no := g.check(ctx, q); no != nil {
				g.proxies.forget(q.voucher)
				err = no
			}
		}
		if err != nil {
			return nil, err
		}
	}
	s.request, s.like = handshake, like
	return s, nil
}

// prepared is what a known proxy's session finds; nil where that is nothing, or
// nothing good any more.
func (g *Gate) prepared(q request, began time.Time, known bool, e browser.Endpoint, handshake []byte, like common) *served {
	if !known {
		g.spare.yield(like)
		return nil
	}
	c, s := g.spare.take(e, like, q.keys)
	if c == nil {
		return s
	}
	// The server may have given the connection up long ago or in this moment.
	s, _ = shake(c, e, began, handshake)
	return s
}

// reach connects to the server while it asks the pool whether this session may.
func (g *Gate) reach(ctx context.Context, q request, e browser.Endpoint) (net.Conn, error) {
	asked := make(chan error, 1)
	go func() { asked <- g.check(ctx, q) }()
	c, err := g.dial(ctx, q, e)
	if no := <-asked; no != nil {
		if c != nil {
			_ = c.Close()
		}
		return nil, no
	}
	return c, err
}

// check asks the pool whether the session may start here.
func (g *Gate) check(ctx context.Context, q request) error {
	switch ok, err := g.pool.Check(ctx, q.session.Session, q.session.Attempt); {
	case err != nil:
		return unreachable(err)
	case !ok:
		return refusal.New(refusal.NoAssignment, "")
	}
	return nil
}

func (g *Gate) dial(ctx context.Context, _ request, e browser.Endpoint) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", e.Socket)
	if err != nil {
		g.o.Log.Warn("cannot reach the Playwright server", zap.Error(err))
		return nil, refusal.New(refusal.BrowserDown, "")
	}
	return c, nil
}

// answered is a no of the Playwright server, which goes to the client as it is.
type answered struct {
	status int
	raw    []byte
}

func (a *answered) Error() string {
	return "the Playwright server answered " + strconv.Itoa(a.status)
}

// shake passes the handshake on and waits for the server's yes. Without one the
// connection is closed.
func shake(c net.Conn, e browser.Endpoint, began time.Time, handshake []byte) (*served, error) {
	server, err := newSocket(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = server.SetDeadline(began.Add(openTime))
	s := &served{socket: server, endpoint: e, in: bufio.NewReaderSize(server, 1024)}
	_, err = server.Write(handshake)
	if err == nil {
		s.yes, err = readHead(s.in)
	}
	status := 0
	if err == nil {
		status, err = statusOf(s.yes)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("%w (%w)", refusal.New(refusal.BrowserDown, ""), err)
	case status != http.StatusSwitchingProtocols:
		// It closes the connection behind it.
		body, _ := io.ReadAll(io.LimitReader(s.in, maxRefusal))
		err = &answered{status: status, raw: append(s.yes, body...)}
	}
	if err != nil {
		_ = server.Close()
		return nil, err
	}
	return s, nil
}
