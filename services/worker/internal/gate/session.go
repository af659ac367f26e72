package gate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	// requestTime is what a handshake may take to arrive.
	requestTime = 10 * time.Second
	// openTime is what a session may take to open from there. A proxy waits no
	// longer either.
	openTime = 5 * time.Second
	// maxRefusal bounds what the server may say with a no.
	maxRefusal = 64 << 10
	// crashTime is how long after its connections a crashed server may take to
	// be seen dead.
	crashTime = 2 * time.Second
	// refuseTime is how long a refused client may take to read why.
	refuseTime = time.Second
)

// serve walks one connection from its handshake to its end.
func (g *Gate) serve(c net.Conn) {
	client, err := newSocket(c)
	if err != nil {
		g.o.Log.Error("cannot serve a connection", zap.Error(err))
		return
	}
	_ = client.SetDeadline(time.Now().Add(requestTime))
	in := bufio.NewReader(client)
	head, err := readHead(in)
	if errors.Is(err, errLong) {
		// A silent end would be put down to the worker, and each other one be tried.
		g.refuse(client, request{}, err)
	}
	if err != nil {
		return // gone
	}
	q, err := parseRequest(head)
	if err != nil {
		g.refuse(client, q, err)
		return
	}
	if !g.takeSlot() {
		g.refuse(client, q, refusal.New(refusal.WorkerFull, ""))
		return
	}
	o, err := g.unlock(client, q, in)
	if err != nil {
		g.freeSlot()
		g.refuse(client, q, err)
		return
	}
	g.run(o)
}

// opened is a session that has started.
type opened struct {
	session  state.Serving
	voucher  string
	relay    *relay
	endpoint browser.Endpoint
	server   *served
	began    time.Time
}

// unlock asks pool and server, in the order in which a no costs least: nothing
// of a stranger reaches the server before the pool knows the session, and
// nothing is started before the browser has said yes.
func (g *Gate) unlock(client *socket, q request, in *bufio.Reader) (*opened, error) {
	began := time.Now()
	ctx, done := context.WithDeadline(g.base, began.Add(openTime))
	defer done()
	s, err := g.knock(ctx, q, began)
	if err != nil {
		return nil, err
	}
	server := s.socket
	over := g.browser.Over(s.endpoint.Generation)
	g.doubt.wait(ctx, over)
	select {
	case <-over:
		g.spare.waste(s)
		return nil, refusal.New(refusal.BrowserDown, "")
	default:
	}
	r := newRelay(client, server, g.o.Stall, g.o.Metrics)
	r.gone, r.endTime = g.doubt.arise, g.endTime
	r.watch(g.o.Guard, g.refusals(q.session.Session))
	if err := g.claim(ctx, q, r); err != nil {
		g.spare.waste(s)
		g.proxies.forget(q.voucher)
		return nil, err
	}
	g.proxies.meet(q.voucher)
	r.up.early, r.down.early = rest(in), rest(s.in)
	client.limitSilence(r.clientStall)
	_ = client.SetDeadline(time.Time{})
	_ = server.SetDeadline(time.Time{})
	if err := client.send(s.yes, r.clientStall); err != nil {
		// It has started, so it has to end like any other.
		r.because(clientClosed)
		r.cut()
	}
	if h := g.spare.expects(s.like); s.hello == nil && h != "" {
		_ = s.say(h) // while the client makes up its mind; an error is an end, which reading tells
	}
	g.o.Metrics.opening.Observe(time.Since(began).Seconds())
	g.o.Metrics.started.Inc()
	return &opened{session: q.session, voucher: q.voucher, relay: r, endpoint: s.endpoint, server: s, began: time.Now()}, nil
}

// unreachable is the refusal for a call to the pool that failed.
func unreachable(err error) error {
	return fmt.Errorf("%w (%w)", refusal.New(refusal.RedisUnavailable, ""), err)
}

// claim starts the session at the pool.
func (g *Gate) claim(ctx context.Context, q request, r *relay) error {
	q.session.Nonce = rand.Text()
	answer, err := g.pool.Claim(ctx, q.session, r.end)
	switch {
	case err != nil:
		return unreachable(err)
	case answer == state.StartUsed:
		return refusal.New(refusal.NoAssignment, "It has started already.")
	case answer != state.StartOK:
		return refusal.New(refusal.NoAssignment, "")
	}
	return nil
}

// rest takes what a reader has read ahead.
func rest(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered())
	return bytes.Clone(b)
}

// run relays a session and reports its end.
func (g *Gate) run(o *opened) {
	log := g.o.Log.With(zap.String("session", o.session.Session))
	log.Debug("session started", zap.Int("attempt", o.session.Attempt), zap.String("proxy", o.session.Proxy), zap.String("client", o.session.Client))
	stop := o.relay.watchSilence(max(g.o.Stall, g.leastSilence))
	g.introduce(o.relay, o.server)
	like := kind{handshake: o.server.like}
	o.server = nil // an idle session keeps nothing of how it began
	reason := o.relay.run()
	stop()
	ended := time.Now()
	// The slot is free before the pool hears of it, because the pool gives it
	// to the next session in the same breath.
	g.freeSlot()
	if reason == serverGone {
		reason = g.judge(o.endpoint.Generation)
	}
	counts := o.relay.counts()
	g.o.Metrics.ended.WithLabelValues(reason).Inc()
	log.Debug("session ended", zap.String("reason", reason), zap.Duration("active", ended.Sub(o.began).Round(time.Millisecond)),
		zap.Uint64("bytes_up", counts.BytesUp), zap.Uint64("bytes_down", counts.BytesDown),
		zap.Uint64("messages_up", counts.MessagesUp), zap.Uint64("messages_down", counts.MessagesDown))
	if g.proxies.know(o.voucher) {
		like.outcome = o.relay.foretold.outcome
		like.opening = o.relay.ear.said.before(g.o.advance())
		g.tasks.Go(func() { g.spare.refill(g.base, o.endpoint, like) })
	}
	g.pool.Ended(state.End{Session: o.session.Session, Reason: reason, Ago: time.Since(ended), Counts: counts})
}

// judge tells a crash from a connection that the server closed. A dying server
// closes its connections first, so this takes a moment; the client has heard
// of the end by now.
func (g *Gate) judge(generation int) string {
	timer := time.NewTimer(crashTime)
	defer timer.Stop()
	select {
	case <-g.browser.Over(generation):
		if g.browser.Hung(generation) {
			return browserHung
		}
		return browserCrashed
	case <-timer.C:
	case <-g.base.Done():
	}
	return workerClosed
}

// no is the answer to a connection that is not let in, and its name in the
// metrics.
func no(err error) (text []byte, code string) {
	var server *answered
	var own refusal.Refusal
	switch {
	case errors.As(err, &server):
		return server.raw, "playwright_" + strconv.Itoa(server.status)
	case errors.As(err, &own):
	case errors.Is(err, errHead):
		return []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "bad_request"
	case errors.Is(err, errLong):
		return []byte("HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "head_too_long"
	}
	own = refusal.From(err)
	return own.AppendHTTP(nil), string(own.Code)
}

// refuse says no and why.
func (g *Gate) refuse(client *socket, q request, err error) {
	text, code := no(err)
	g.o.Metrics.refused.WithLabelValues(code).Inc()
	g.o.Log.Debug("connection refused", zap.String("session", q.session.Session), zap.Int("attempt", q.session.Attempt),
		zap.Stringer("from", client.RemoteAddr()), zap.Error(err))
	_ = client.SetDeadline(time.Now().Add(refuseTime))
	if client.send(text, refuseTime) != nil || client.CloseWrite() != nil {
		return
	}
	// To close with bytes unread would reset the connection, and the answer
	// might never be read.
	_, _ = io.Copy(io.Discard, client.conn)
}
