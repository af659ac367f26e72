// Package standin is a server that stands in for workers and their browsers in
// load tests. Towards the pool it is as many workers as one asks for: they
// join, send heartbeats, start and end sessions. Towards a client it is a
// WebSocket server that speaks no Playwright:
//
//   - a message of up to 64 KiB comes back as it is,
//   - a larger one is swallowed,
//   - the text "send N SIZE" is answered by N binary messages of SIZE bytes,
//   - the text "count" is answered by the number of swallowed bytes so far,
//   - the text "who" is answered by the folder of the Playwright it stands in for
//     and the address it listens at, which is another one after each start,
//   - the greeting of a worker is answered as a Playwright server would.
package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// Gate decides about connections that name a session.
type Gate interface {
	// Start lets a connection in; the address is the one that it was made to.
	Start(ctx context.Context, address string, headers map[string]string) (end func(), err error)
}

// EchoLimit is the size of the largest message that is echoed.
const EchoLimit = 64 << 10

// Serve answers connections until the listener closes. Without a gate, or when
// they name no session, all are let in: that is what a plain balancer needs.
func Serve(l net.Listener, g Gate) error { return listen(l, g, "") }

func listen(l net.Listener, g Gate, who string) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go serve(c, g, who)
	}
}

func serve(raw net.Conn, g Gate, who string) {
	defer func() { _ = raw.Close() }()
	request, err := ws.Accept(raw)
	if err != nil {
		return
	}
	if g != nil && request.Headers["x-pwdist-session"] != "" {
		end, err := g.Start(context.Background(), request.Headers["host"], request.Headers)
		if err != nil {
			request.Refuse("403 Forbidden")
			return
		}
		defer end()
	}
	conn, err := request.Upgrade()
	if err != nil {
		return
	}
	s := session{conn: conn, who: who}
	s.run()
	// Before its end is reported, so that a slot which Redis gives on is free.
	_ = raw.Close()
}

type session struct {
	conn      *ws.Conn
	who       string
	out       []byte
	swallowed uint64
}

// scratch is what bulk is read into; connections that get none need none.
var scratch = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func (s *session) run() {
	for {
		h, err := s.conn.Next()
		if err == nil {
			err = s.handle(h)
		}
		if err != nil {
			return
		}
	}
}

var errOver = errors.New("closed")

func (s *session) handle(h ws.Header) error {
	if h.Size > EchoLimit {
		return s.swallow(h)
	}
	switch h.Op {
	case ws.Text:
		b := make([]byte, h.Size)
		if err := s.conn.Take(h, b); err != nil {
			return err
		}
		return s.text(b)
	case ws.Ping:
		return s.reply(h, ws.Pong)
	case ws.Close:
		if err := s.reply(h, ws.Close); err != nil {
			return err
		}
		return errOver
	case ws.Pong:
		return s.conn.Take(h, make([]byte, h.Size))
	}
	return s.reply(h, h.Op)
}

// reply sends a payload back under an opcode.
func (s *session) reply(h ws.Header, op byte) error {
	s.out = ws.AppendHead(s.out[:0], op, h.Size)
	at := len(s.out)
	for cap(s.out) < at+h.Size {
		s.out = append(s.out[:cap(s.out)], 0)
	}
	s.out = s.out[:at+h.Size]
	if err := s.conn.Take(h, s.out[at:]); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	return err
}

func (s *session) swallow(h ws.Header) error {
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	s.swallowed += uint64(h.Size)
	return s.conn.Skip(h.Size, *b)
}

// text does what a text asks for.
func (s *session) text(b []byte) error {
	text := string(b)
	switch {
	case text == "count":
		return s.say(strconv.FormatUint(s.swallowed, 10))
	case text == "who":
		return s.say(s.who)
	case strings.HasPrefix(text, "send "):
		return s.send(strings.Fields(text)[1:])
	case strings.Contains(text, greeting):
		for _, answer := range answers {
			if err := s.say(answer); err != nil {
				return err
			}
		}
		return nil
	}
	return s.say(text)
}

func (s *session) say(text string) error {
	s.out = append(ws.AppendHead(s.out[:0], ws.Text, len(text)), text...)
	_, err := s.conn.Write(s.out)
	return err
}

// send sends so many messages of such a size.
func (s *session) send(fields []string) error {
	if len(fields) != 2 {
		return fmt.Errorf("send takes a number and a size, not %q", fields)
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(fields[1])
	if err != nil {
		return err
	}
	message := append(ws.AppendHead(nil, ws.Binary, size), make([]byte, size)...)
	for range n {
		if _, err := s.conn.Write(message); err != nil {
			return err
		}
	}
	return nil
}
