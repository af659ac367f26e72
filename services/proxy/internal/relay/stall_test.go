package relay_test

import (
	"bufio"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// TestI8Stalled has sessions of which one side owes the answer to a ping and does
// not read what the other one sends, for longer than an answer may take. They
// hold one buffer or one pipe each and no more, and everybody gets every byte who
// reads at last.
func TestI8Stalled(t *testing.T) {
	piped(t, stalled)
}

func stalled(t *testing.T, pipes int) {
	const sessions, size = 12, 24 << 20
	// Long enough for what is to wait to be sent first, also on a busy machine.
	g := newRig(t, func(o *relay.Options) {
		o.Ping, o.Dead, o.Stall, o.Pipes = 16*time.Millisecond, 2*time.Second, time.Hour, pipes
	})
	type way struct {
		s    *session
		from int
		sent *source
		done chan error
	}
	var all []way
	for i := range sessions {
		sent := &source{block: noise(uint64(i), 64<<10), sum: crc32.NewIEEE()}
		all = append(all, way{g.session(), i % 2, sent, make(chan error, 1)})
	}
	m := watchMemory(t)
	for _, w := range all {
		require.Eventually(t, func() bool { return w.s.Owes(1 - w.from) }, patience, time.Millisecond)
		sender, _ := w.s.far(w.from)
		go func() {
			header := frameHeader(fin|binaryMessage, size, w.from == 0)
			err := w.sent.put(sender, header)
			if err == nil {
				err = w.sent.send(sender, size)
			}
			w.done <- err
		}()
	}
	for _, w := range all {
		require.Eventually(t, func() bool { return w.s.BlockedFrom(w.from) }, patience, time.Millisecond)
	}
	outlived(t, all[0].s, 2*time.Second)
	for _, w := range all {
		require.Zero(t, w.s.ends.Load(), "it was given up")
	}
	const most = sessions*(256<<10) + sessionMemory
	require.LessOrEqual(t, live(), m.base+most)

	var readers sync.WaitGroup
	for _, w := range all {
		readers.Go(func() {
			_, c := w.s.far(w.from)
			_ = c.SetReadDeadline(time.Now().Add(patience))
			reader, masked := bufio.NewReader(c), w.from == 0
			for { // the pings before it
				if b, err := reader.Peek(1); err != nil || b[0] != fin|ping {
					break
				}
				_, _ = reader.Discard(len(ownPing(masked)))
			}
			got := crc32.NewIEEE()
			n := len(frameHeader(fin, size, masked)) + size
			_, err := io.CopyN(got, reader, int64(n))
			assert.NoError(t, err)
			assert.NoError(t, receive(t, w.done))
			assert.Equal(t, w.sent.sum.Sum(nil), got.Sum(nil))
		})
	}
	readers.Wait()
}

// TestStalled ends a session of which a side takes nothing that waits for it in
// the relay.
func TestStalled(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		var told <-chan *relay.Session
		s := newRig(t, func(o *relay.Options) {
			o.Ping, o.Stall = 0, 200*time.Millisecond
			told = foretold(o)
		}).session()
		sender, reader := s.far(from)
		sent := fill(t, sender)
		require.Equal(t, relay.ReasonStalled, s.ended().Reason)
		require.Same(t, s.Session, receive(t, told))
		got, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Less(t, len(got), len(sent))
		require.Equal(t, sha256.Sum256(sent[:len(got)]), sha256.Sum256(got), "what was delivered is right")
	})
}

// TestStallLimit has the watch's clock: a reader that takes a little now and then
// has not stalled, also where that is too little for the relay to write more.
func TestStallLimit(t *testing.T) {
	piped(t, stallLimit)
}

func stallLimit(t *testing.T, pipes int) {
	const limit = time.Hour
	ways(t, func(t *testing.T, from int) {
		g := newRig(t, func(o *relay.Options) { o.Ping, o.Stall, o.Pipes = 0, limit, pipes })
		g.relay.HoldStallWatch()
		s := g.session()
		sender, reader := s.far(from)
		write(t, sender, frameHeader(fin|binaryMessage, 256<<20, from == 0))
		go func() { _ = newSource(crc32.NewIEEE()).send(sender, 256<<20) }()
		blocked := func() {
			t.Helper()
			require.Eventually(t, func() bool { return s.BlockedFrom(from) && !s.MovedFrom(from) }, patience, time.Millisecond)
		}
		blocked()
		now := time.Now()
		require.Zero(t, g.relay.Stalled(now.Add(limit-time.Second)))

		// The reader's kernel makes room, and its peer's is not yet empty enough.
		queued := s.QueuedFor(from)
		for s.QueuedFor(from) == queued {
			_ = read(t, reader, 64<<10)
		}
		t.Log("the kernel has room for", queued-s.QueuedFor(from), "bytes; the relay waits for it:", s.BlockedFrom(from))
		now = now.Add(limit + time.Second)
		require.Zero(t, g.relay.Stalled(now), "bytes that the peer has taken do not count")

		// The relay writes more.
		for !s.MovedFrom(from) {
			_ = read(t, reader, 64<<10)
		}
		require.Eventually(t, func() bool { return s.BlockedFrom(from) }, patience, time.Millisecond)
		now = now.Add(limit + time.Second)
		require.Zero(t, g.relay.Stalled(now), "bytes that the relay has written do not count")
		blocked()

		now = now.Add(limit - time.Second)
		require.Zero(t, g.relay.Stalled(now))
		now = now.Add(2 * time.Second)
		require.Equal(t, 1, g.relay.Stalled(now))
	})
}
