package gate

import (
	"context"
	"errors"
	"os"
	"time"
)

// helloTime is how long a client may take to say what it is expected to say first
// until the server hears the session's own words.
const helloTime = time.Second

// introduce answers what a client says first, where the server was asked it before.
// A client that says anything else, or nothing, gets a connection on which nothing
// was said. It is called before the relay runs.
func (g *Gate) introduce(r *relay, s *served) {
	if s.said == "" {
		return
	}
	said, id, size, err := r.listen(helloTime)
	switch {
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return // it has gone, and needs no answer
	case said == s.said && r.welcomed(s):
		r.ear.hear(r.up.early[:size])
		r.up.follow(r.up.early[:size])
		r.up.early = r.up.early[size:]
		answer := s.welcome.answer(id)
		r.down.follow(answer)
		if err := r.client.send(answer, r.clientStall); err != nil {
			r.because(clientClosed)
			r.cut()
		}
		g.o.Metrics.hellos.WithLabelValues("answered").Inc()
		return
	}
	if r.ending.Load() != nil {
		return
	}
	g.o.Metrics.hellos.WithLabelValues("unsaid").Inc()
	if err := g.restart(r, s); err != nil {
		r.because(serverGone)
		r.cut()
	}
}

// listen waits until the client has said something, and keeps it for the relay.
func (r *relay) listen(patience time.Duration) (said hello, id []byte, size int, err error) {
	_ = r.client.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = r.client.SetReadDeadline(time.Time{}) }()
	for {
		if said, id, size = parseHello(r.up.early); size > 0 {
			return said, id, size, nil
		}
		b, err := r.client.receive()
		if err != nil {
			return "", nil, 0, err
		}
		r.up.early = append(r.up.early, b...)
		r.client.release()
	}
}

// welcomed waits for the server's answer, if it has not come yet, as long as the
// client would, or until the worker ends the session.
func (r *relay) welcomed(s *served) bool {
	if r.ending.Load() != nil || s.hear() != nil {
		return false
	}
	r.down.early = rest(s.in)
	return true
}

// restart begins the session's connection to the server anew.
func (g *Gate) restart(r *relay, s *served) error {
	began := time.Now()
	ctx, done := context.WithDeadline(g.base, began.Add(openTime))
	defer done()
	c, err := g.dial(ctx, request{}, s.endpoint)
	if err != nil {
		return err
	}
	// The client has the answer to its handshake.
	anew, err := shake(c, s.endpoint, began, s.request)
	if err != nil {
		return err
	}
	_ = anew.SetDeadline(time.Time{})
	r.serveBy(anew)
	_ = s.Close()
	return nil
}

// serveBy puts another connection to the server in the place of the one it had.
func (r *relay) serveBy(s *served) {
	r.ends.Lock()
	defer r.ends.Unlock()
	r.server, r.up.to, r.down.from = s.socket, s.socket, s.socket
	r.down.early = rest(s.in)
}
