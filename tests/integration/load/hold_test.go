package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// held is what became of sessions that were held open with traffic.
type held struct {
	sessions int
	messages int64   // that went and came back
	lost     int64   // that went and did not
	dropped  []error // sessions that ended before they were told to
}

func (h held) err() error {
	switch {
	case len(h.dropped) > 0:
		return fmt.Errorf("%d of %d sessions were dropped, the first with: %w", len(h.dropped), h.sessions, h.dropped[0])
	case h.lost > 0:
		return fmt.Errorf("%d of %d messages did not come back", h.lost, h.messages+h.lost)
	case h.messages < int64(h.sessions):
		return fmt.Errorf("only %d messages in %d sessions", h.messages, h.sessions)
	}
	return nil
}

// hold keeps sessions open for a while, sends a message on each once in every
// gap and at least once, and looks whether it comes back as it was. Then it closes them.
func hold(tb testing.TB, conns []*ws.Conn, during, gap time.Duration) held {
	tb.Helper()
	payload := bytes.Repeat([]byte("held"), smallSize/4)
	message := ws.AppendMasked(nil, ws.Binary, payload)
	h := held{sessions: len(conns)}
	var sent, back atomic.Int64
	var mu sync.Mutex
	drop := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		h.dropped = append(h.dropped, err)
	}
	var readers, writers sync.WaitGroup
	for _, c := range conns {
		readers.Go(func() {
			if err := receive(c, payload, &back); err != nil {
				drop(err)
			}
		})
	}
	// A few writers walk over all sessions, so that these need no timers.
	const walkers = 16
	ctx, cancel := context.WithTimeout(tb.Context(), during)
	defer cancel()
	for w := range min(walkers, len(conns)) {
		writers.Go(func() {
			mine := (len(conns) - w + walkers - 1) / walkers
			tick := time.NewTicker(gap / time.Duration(mine))
			defer tick.Stop()
			var over <-chan struct{} // when each has had one
			for i, n := w, 0; ; i, n = i+walkers, n+1 {
				if i >= len(conns) {
					i = w
				}
				if n == mine {
					over = ctx.Done()
				}
				select {
				case <-over:
					return
				case <-tick.C:
				}
				// A session that was dropped is counted by its reader.
				if _, err := conns[i].Write(message); err == nil {
					sent.Add(1)
				}
			}
		})
	}
	writers.Wait()
	for _, c := range conns {
		// The answer comes behind all that was sent before, and ends the reader.
		_, _ = c.Write(goodbye)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	}
	readers.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
	h.messages = back.Load()
	h.lost = sent.Load() - h.messages
	return h
}

// receive counts what comes back until the answer to the client's goodbye.
func receive(c *ws.Conn, payload []byte, back *atomic.Int64) error {
	got := make([]byte, len(payload))
	for {
		h, err := next(c)
		if err != nil {
			return err
		}
		if h.Op == ws.Close {
			reason := make([]byte, h.Size)
			if err := c.Take(h, reason); err != nil {
				return err
			}
			if !bytes.Equal(reason, normal) {
				return fmt.Errorf("closed: %q", reason)
			}
			return nil
		}
		if h.Size != len(got) {
			return fmt.Errorf("a frame of %d bytes, opcode %d", h.Size, h.Op)
		}
		if err := c.Take(h, got); err != nil {
			return err
		}
		if !bytes.Equal(got, payload) {
			return errors.New("a message came back changed")
		}
		back.Add(1)
	}
}
