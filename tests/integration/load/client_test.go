package load_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// asClient are the headers that every Playwright client sends.
var asClient = []string{"User-Agent: Playwright/" + standin.Version + " (load)", "x-playwright-browser: chromium"}

func connect(address string) (*ws.Conn, error) { return ws.Dial("tcp", address, "/", asClient...) }

// connectAll opens n sessions, some at a time.
func connectAll(tb testing.TB, address string, n int) []*ws.Conn {
	tb.Helper()
	return openAll(tb, n, func() (*ws.Conn, error) { return connect(address) })
}

func openAll(tb testing.TB, n int, open func() (*ws.Conn, error)) []*ws.Conn {
	tb.Helper()
	conns := make([]*ws.Conn, n)
	var all sync.WaitGroup
	failed := make(chan error, n)
	next := make(chan int)
	for range min(n, 32) {
		all.Go(func() {
			for i := range next {
				c, err := open()
				if err != nil {
					failed <- err
					continue
				}
				conns[i] = c
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	close(failed)
	if err := <-failed; err != nil {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
		tb.Fatalf("%d of %d sessions could not be opened: %v", len(failed)+1, n, err)
	}
	return conns
}

// normal is the status code 1000 of a close frame.
var normal = []byte{0x03, 0xE8}

var goodbye = ws.AppendMasked(nil, ws.Close, normal)

// leave closes a session as a client does that is done.
func leave(c *ws.Conn) error {
	defer func() { _ = c.Close() }()
	if _, err := c.Write(goodbye); err != nil {
		return err
	}
	h, err := next(c)
	if err == nil && h.Op != ws.Close {
		err = fmt.Errorf("frame of opcode %d instead of a close", h.Op)
	}
	return err
}

func leaveAll(tb testing.TB, conns []*ws.Conn) {
	tb.Helper()
	var all sync.WaitGroup
	errs := make([]error, len(conns))
	for i, c := range conns {
		all.Go(func() { errs[i] = leave(c) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		tb.Error(err)
	}
}

// attend reads on sessions that say nothing, as their clients do, and answers
// pings. The function it returns closes them, and fails the test for each that
// had ended before.
func attend(tb testing.TB, conns []*ws.Conn) (leave func()) {
	var all sync.WaitGroup
	errs := make([]error, len(conns))
	for i, c := range conns {
		all.Go(func() {
			if h, err := next(c); err != nil {
				errs[i] = err
			} else if h.Op != ws.Close {
				errs[i] = fmt.Errorf("frame of opcode %d instead of a close", h.Op)
			}
			_ = c.Close()
		})
	}
	return func() {
		tb.Helper()
		for _, c := range conns {
			_, _ = c.Write(goodbye) // what fails here, the reader reports
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			tb.Error(err)
		}
	}
}

// next reads the head of the next frame of the conversation. It answers pings,
// and passes over pongs, which a client may get without having asked.
func next(c *ws.Conn) (ws.Header, error) {
	for {
		h, err := c.Next()
		if err != nil || h.Op != ws.Ping && h.Op != ws.Pong {
			return h, err
		}
		b := make([]byte, h.Size)
		if err := c.Take(h, b); err != nil {
			return h, err
		}
		if h.Op == ws.Pong {
			continue
		}
		if _, err := c.Write(ws.AppendMasked(nil, ws.Pong, b)); err != nil {
			return h, err
		}
	}
}
