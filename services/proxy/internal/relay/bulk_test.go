package relay_test

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ways runs a test once from client to worker and once the other way. from is
// the side that sends, by which a session's directions are named.
func ways(t *testing.T, f func(t *testing.T, from int)) {
	t.Run("client to worker", func(t *testing.T) { f(t, 0) })
	t.Run("worker to client", func(t *testing.T) { f(t, 1) })
}

// far are the far ends of a direction.
func (s *session) far(from int) (sender, reader *net.TCPConn) {
	if from == 0 {
		return s.client, s.worker
	}
	return s.worker, s.client
}

// source makes streams without a pattern that no memory has to hold: one block
// again and again, each time with another number in it.
type source struct {
	block  []byte
	number uint64
	sum    hash.Hash
}

func newSource(sum hash.Hash) *source { return &source{block: noise(1, 1<<20), sum: sum} }

// send writes the next n bytes.
func (s *source) send(w io.Writer, n int) error {
	for n > 0 {
		s.number++
		part := s.block[:min(n, len(s.block))]
		if len(part) >= 8 {
			binary.BigEndian.PutUint64(part, s.number)
		}
		if err := s.put(w, part); err != nil {
			return err
		}
		n -= len(part)
	}
	return nil
}

// put writes b as a part of the stream.
func (s *source) put(w io.Writer, b []byte) error {
	_, _ = s.sum.Write(b)
	_, err := w.Write(b)
	return err
}

// memory watches what the process holds while a stream goes through it.
type memory struct {
	t    *testing.T
	base uint64
	next int
}

const (
	// sessionMemory is more than a session holds at most, which is a buffer of
	// 256 KiB for each direction and what is in the pool of them for each CPU, and
	// far less than what these tests send.
	sessionMemory = 4 << 20
	// lookEvery is how many bytes go by between two looks.
	lookEvery = 8 << 20
)

func watchMemory(t *testing.T) *memory {
	t.Helper()
	_ = live() // pools let go at the second collection
	return &memory{t: t, base: live()}
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// look is called when so many bytes have gone by.
func (m *memory) look(n int) {
	if n < m.next {
		return
	}
	m.next += lookEvery
	if now := live(); now > m.base {
		assert.LessOrEqual(m.t, now-m.base, uint64(sessionMemory), "the heap grows with the stream")
	}
}

// drain reads n bytes, or to the end where n is negative.
func (m *memory) drain(r io.Reader, n int, sum hash.Hash, pause func(n int)) int {
	m.t.Helper()
	buf := make([]byte, 64<<10)
	got := 0
	for got != n {
		part := buf
		if n >= 0 {
			part = buf[:min(len(buf), n-got)]
		}
		k, err := r.Read(part)
		_, _ = sum.Write(part[:k])
		got += k
		if err != nil {
			require.ErrorIs(m.t, err, io.EOF)
			break
		}
		m.look(got)
		pause(got)
	}
	return got
}

// TestI8Close closes right behind 100 MB, which are a frame or nothing that the
// relay knows. A slow reader does not begin before the relay can hold no more,
// and dawdles from then on.
func TestI8Close(t *testing.T) {
	const size = 100_000_000
	ways(t, func(t *testing.T, from int) {
		for name, c := range map[string]struct{ slow, framed bool }{
			"fast reader": {false, false}, "slow reader": {true, false}, "fast reader of a frame": {false, true}, "slow reader of a frame": {true, true},
		} {
			t.Run(name, func(t *testing.T) {
				g := newRig(t)
				s, slow := g.session(), c.slow
				sender, reader := s.far(from)
				_ = reader.SetReadDeadline(time.Now().Add(3 * patience))
				sent := newSource(sha256.New())
				m := watchMemory(t)
				done := make(chan error, 1)
				go func() {
					var err error
					rest := size
					if c.framed {
						header := frameHeader(fin|binaryMessage, size-len(frameHeader(fin, size, from == 0)), from == 0)
						err, rest = sent.put(sender, header), size-len(header)
					}
					if err == nil {
						err = sent.send(sender, rest)
					}
					_ = sender.Close()
					done <- err
				}()
				pause := func(int) {}
				if slow {
					full := func() {
						require.Eventually(t, func() bool { return s.BlockedFrom(from) }, patience, time.Millisecond)
					}
					full()
					again := size / 2
					pause = func(n int) {
						if n >= again {
							again = size + 1
							full()
						}
						if n%32 == 0 {
							<-time.After(time.Millisecond)
						}
					}
				}
				got := sha256.New()
				require.Equal(t, size, m.drain(reader, -1, got, pause))
				require.NoError(t, receive(t, done))
				require.Equal(t, sent.sum.Sum(nil), got.Sum(nil))
				require.Equal(t, c.framed, g.relay.Pipes() > 0)
				_ = reader.Close()
				r := s.ended()
				require.EqualValues(t, size, [2]uint64{r.BytesUp, r.BytesDown}[from])
			})
		}
	})
}

// hugeMessage is the largest message that Playwright's server takes.
const hugeMessage = 256 << 20

// TestHugeFrame sends the largest message as one frame: nothing waits for its
// end but the relay's own ping.
func TestHugeFrame(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t).session()
		sender, reader := s.far(from)
		sent, got := newSource(crc32.NewIEEE()), crc32.NewIEEE()
		m := watchMemory(t)

		header := frameHeader(fin|binaryMessage, hugeMessage, from == 0)
		write(t, sender, header)
		require.Equal(t, header, read(t, reader, len(header)), "the header does not wait for the body")
		s.Ping()
		_ = read(t, sender, len(ownPing(from == 1)))

		done := make(chan error, 1)
		go func() { done <- sent.send(sender, hugeMessage) }()
		_ = reader.SetReadDeadline(time.Now().Add(3 * patience))
		require.Equal(t, hugeMessage, m.drain(reader, hugeMessage, got, func(int) {}))
		require.NoError(t, receive(t, done))
		require.Equal(t, sent.sum.Sum(nil), got.Sum(nil))
		ping := ownPing(from == 0)
		require.Equal(t, ping[:2], read(t, reader, len(ping))[:2], "a ping that was due comes right behind the frame")

		_, _ = sender.Close(), reader.Close()
		r := s.ended()
		require.EqualValues(t, len(header)+hugeMessage, [2]uint64{r.BytesUp, r.BytesDown}[from])
		require.EqualValues(t, 1, [2]uint64{r.MessagesUp, r.MessagesDown}[from])
	})
}

// ownPing is the relay's ping without its mask.
func ownPing(masked bool) []byte { return frame(fin|ping, []byte(pingText), masked) }

// TestHugeMessage sends the largest message in fragments of all sizes, empty ones
// too, with control frames between them.
func TestHugeMessage(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 65_535, 65_536, 1<<20 - 1, 0, 5 << 20}
	ways(t, func(t *testing.T, from int) {
		s := newRig(t).session()
		sender, reader := s.far(from)
		masked := from == 0
		sent, got := newSource(crc32.NewIEEE()), crc32.NewIEEE()
		m := watchMemory(t)

		total := make(chan int, 1)
		done := make(chan error, 1)
		go func() {
			n := 0
			var err error
			put := func(b []byte) {
				if err == nil {
					err = sent.put(sender, b)
				}
				n += len(b)
			}
			first := byte(binaryMessage)
			for i, left := 0, hugeMessage; left > 0 && err == nil; i++ {
				size := min(left, sizes[i%len(sizes)])
				put(frameHeader(first, size, masked))
				if err == nil {
					err = sent.send(sender, size)
				}
				first, left, n = continuation, left-size, n+size
				put(frame(fin|byte(ping+i%2), noise(uint64(i), i%126), masked))
			}
			put(frameHeader(fin|continuation, 0, masked))
			_ = sender.CloseWrite()
			total <- n
			done <- err
		}()
		_ = reader.SetReadDeadline(time.Now().Add(3 * patience))
		n := m.drain(reader, -1, got, func(int) {})
		require.Equal(t, receive(t, total), n)
		require.NoError(t, receive(t, done))
		require.Equal(t, sent.sum.Sum(nil), got.Sum(nil))

		_, _ = sender.Close(), reader.Close()
		r := s.ended()
		require.EqualValues(t, n, [2]uint64{r.BytesUp, r.BytesDown}[from])
		require.EqualValues(t, 1, [2]uint64{r.MessagesUp, r.MessagesDown}[from])
	})
}
