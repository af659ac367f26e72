package relay_test

import (
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// piped runs a test with and without pipes for long frames.
func piped(t *testing.T, f func(t *testing.T, pipes int)) {
	t.Run("through pipes", func(t *testing.T) { f(t, 16) })
	t.Run("copied", func(t *testing.T) { f(t, 0) })
}

// TestLongFrames sends frames of lengths around that from which on they go through
// a pipe, with short ones between them, cut anywhere, both ways at once, to
// readers that dawdle. More sessions than there are pipes get the same.
func TestLongFrames(t *testing.T) {
	const sessions, pipes, frames = 4, 3, 40
	g := newRig(t, func(o *relay.Options) { o.Pipes = pipes })
	last := g.session() // pipes are kept while there is one
	var all sync.WaitGroup
	for i := range sessions {
		s := g.session()
		up, upMessages := longFrames(uint64(2*i), frames, true)
		down, downMessages := longFrames(uint64(2*i+1), frames, false)
		all.Go(func() {
			s.converse(t, up, down, uint64(i))
			assert.NotZero(t, g.relay.Pipes())
			assert.LessOrEqual(t, g.relay.Pipes(), pipes)
			r := s.ended()
			assert.Equal(t, [2]uint64{uint64(len(up)), uint64(len(down))}, [2]uint64{r.BytesUp, r.BytesDown})
			assert.Equal(t, [2]uint64{upMessages, downMessages}, [2]uint64{r.MessagesUp, r.MessagesDown})
		})
	}
	all.Wait()
	_, _ = last.client.Close(), last.worker.Close()
	require.Eventually(t, func() bool { return g.relay.Pipes() == 0 }, patience, time.Millisecond, "no session, no pipe")
}

// longFrames is a stream of messages in one or more frames each, and how many
// messages.
func longFrames(seed uint64, n int, masked bool) (stream []byte, messages uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	lengths := []int{0, 1, 200, 4 << 10, relay.LongFrame - 1, relay.LongFrame, relay.LongFrame + 4<<10, 256 << 10, 1 << 20}
	first := byte(binaryMessage)
	for i := range n {
		kind := first
		first = continuation
		if i == n-1 || r.IntN(3) > 0 {
			kind, first = kind|fin, binaryMessage
			messages++
		}
		size := lengths[r.IntN(len(lengths))] + r.IntN(2)
		stream = append(append(stream, frameHeader(kind, size, masked)...), noise(seed+uint64(i), size)...)
		if r.IntN(4) == 0 {
			stream = append(stream, frame(fin|ping, []byte("are you there"), masked)...)
		}
	}
	return stream, messages
}

// TestLongFrameToNobody has the reader of a long frame go while a pipe is full of
// it: the session ends, and the pipe is not lent to anybody as it is.
func TestLongFrameToNobody(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		g := newRig(t, func(o *relay.Options) { o.Pipes, o.Linger, o.Stall = 1, 50*time.Millisecond, 500*time.Millisecond })
		g.session() // keeps the pool
		bystander := g.session()
		stuck := func(end func(s *session)) {
			t.Helper()
			s := g.session()
			sender, reader := s.far(from)
			write(t, sender, frameHeader(fin|binaryMessage, hugeMessage, from == 0))
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = newSource(crc32.NewIEEE()).send(sender, hugeMessage)
			}()
			pipes := 0 // while it is stuck, which ends by itself when it has stalled
			require.Eventually(t, func() bool {
				pipes = g.relay.Pipes()
				return s.BlockedFrom(from) && pipes > 0
			}, patience, time.Millisecond)
			require.Equal(t, 1, pipes)
			end(s)
			s.ended()
			receive(t, done)
			_, _ = sender.Close(), reader.Close()
		}
		leave := func(s *session) {
			_, reader := s.far(from)
			reset(reader)
		}
		stuck(leave)
		stuck(func(s *session) {
			stuck(leave) // beside one that has the only pipe
			leave(s)
		})
		stuck(func(*session) {}) // it has stalled, which ends it as it is
		sender, reader := bystander.far(from)
		// So long that no read leaves less than a pipe is for.
		stream := append(frameHeader(fin|binaryMessage, 1<<20, from == 0), noise(9, 1<<20)...)
		go dribble(sender, stream, 1)
		expect(t, reader, stream, 1)
		require.Equal(t, 1, g.relay.Pipes())

		files := descriptors(t)
		for range 5 {
			stuck(leave)
		}
		require.Eventually(t, func() bool { return descriptors(t) <= files }, patience, time.Millisecond)
		stuck(func(*session) { g.stop() })
		require.Zero(t, g.relay.Pipes())
	})
}
