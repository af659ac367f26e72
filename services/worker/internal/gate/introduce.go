package gate

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	// helloTime is how long a client may take to say what it is expected to say
	// first, until it gets a connection to the server on which nothing was said.
	helloTime = time.Second
	// restartTime is how long the server may take to open that.
	restartTime = 2 * openTime
)

// introduction is the beginning of a session whose client is expected to say a
// hello that the gate has said already. It comes before what the two directions
// of the relay do otherwise: one hears what the client says, and the other waits
// for that, and then for the server's answer.
type introduction struct {
	gate   *Gate
	relay  *relay
	server *served
	heard  chan struct{} // closed when it is known what the client says first
	id     []byte        // of its hello; nil where it began in another way
}

// introduce has the relay begin with an introduction, if there is to be one.
func (g *Gate) introduce(r *relay, s *served) {
	if s.hello == nil {
		return
	}
	i := &introduction{gate: g, relay: r, server: s, heard: make(chan struct{})}
	r.up.begin, r.down.begin = i.hear, i.answer
	r.expect(s.ready, s.veil, s.prepared.Add(g.spare.keep), g.spare.dismiss)
}

// hear is the client's direction; false means that this has ended.
func (i *introduction) hear() bool {
	defer close(i.heard)
	r := i.relay
	said, size, err := r.listen(i.gate.helloTime)
	switch {
	case r.ending.Load() != nil:
		return true
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		// Without a word of its client the session has nothing to deliver.
		r.because(r.up.blame(err))
		r.cut()
		return false
	case i.server.hello.suits(said):
		i.id = said.id
		r.ear.hear(r.up.early[:size])
		r.up.follow(r.up.early[:size])
		r.up.early = r.up.early[size:]
		return true
	}
	i.gate.o.Metrics.hellos.WithLabelValues("unsaid").Inc()
	r.unexpect()
	if err := i.restart(); err != nil && r.ending.Load() == nil {
		r.because(serverGone)
		r.cut()
		return false
	}
	return true
}

// answer is the server's direction; false means that this has ended.
func (i *introduction) answer() bool {
	r := i.relay
	select {
	case <-i.heard:
	case <-r.called:
	}
	if r.down.farewell() {
		return false
	}
	if i.id == nil {
		return true
	}
	switch err := i.server.hear(); {
	case errors.Is(err, errAnswer):
		r.because(workerClosed)
		r.cut()
		return false
	case err != nil:
		if !r.down.broken(err) {
			r.cut()
		}
		return false
	}
	i.gate.o.Metrics.hellos.WithLabelValues("answered").Inc()
	r.down.early = rest(i.server.in)
	return r.down.pass(i.server.hello.answer(i.id))
}

// listen waits until the client has said something, and keeps it for the relay.
func (r *relay) listen(patience time.Duration) (said call, size int, err error) {
	_ = r.client.SetReadDeadline(time.Now().Add(patience))
	for {
		var text []byte
		if text, _, size = firstFrame(r.up.early); size > 0 {
			said, _ = parseCall(text)
			break
		}
		var b []byte
		if b, err = r.client.receive(); err != nil {
			break
		}
		r.up.early = append(r.up.early, b...)
		r.client.release()
	}
	r.ends.Lock()
	defer r.ends.Unlock()
	if r.ending.Load() == nil {
		_ = r.client.SetReadDeadline(time.Time{})
	}
	return said, size, err
}

// restart begins the session's connection to the server anew.
func (i *introduction) restart() error {
	s := i.server
	ctx, done := context.WithTimeout(i.gate.base, restartTime)
	defer done()
	c, err := i.gate.dial(ctx, request{}, s.endpoint)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })()
	// The client has the answer to its handshake.
	anew, err := shake(c, s.endpoint, time.Now().Add(restartTime-openTime), s.request)
	if err != nil {
		return err
	}
	_ = anew.SetDeadline(time.Time{})
	if !i.relay.serveBy(anew) {
		_ = anew.Close()
		return os.ErrClosed
	}
	_ = s.Close()
	return nil
}

// serveBy puts another connection to the server in the place of the one it had,
// unless the session ends.
func (r *relay) serveBy(s *served) bool {
	r.ends.Lock()
	defer r.ends.Unlock()
	if r.ending.Load() != nil {
		return false
	}
	r.server, r.up.to, r.down.from = s.socket, s.socket, s.socket
	r.down.early = rest(s.in)
	return true
}
