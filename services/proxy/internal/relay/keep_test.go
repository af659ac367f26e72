package relay_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// often has the keeper look at each session every 16 ms.
func often(o *relay.Options) { o.Ping, o.Dead = 16*time.Millisecond, time.Hour }

const pingText = "pwdist"

// next reads one frame and returns its first byte and its payload, unmasked.
func next(r *bufio.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 0x7f)
	for _, long := range []struct{ mark, bytes int }{{126, 2}, {127, 8}} {
		if n == long.mark {
			n = 0
			for range long.bytes {
				b, err := r.ReadByte()
				if err != nil {
					return 0, nil, err
				}
				n = n<<8 | int(b)
			}
			break
		}
	}
	var key [4]byte
	if head[1]&0x80 != 0 {
		if _, err = io.ReadFull(r, key[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	return head[0], payload, err
}

// answers reads frames and answers the pings among them, until the end.
func answers(c *net.TCPConn, masked bool, saw func(first byte, payload []byte)) {
	r := bufio.NewReader(c)
	for {
		first, payload, err := next(r)
		if err != nil {
			return
		}
		saw(first, payload)
		if first == fin|ping {
			b := frame(fin|pong, payload, masked)
			if masked { // frame's key stands there, and nothing is masked by it
				for i := range payload {
					b[6+i] ^= b[2+i&3]
				}
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
}

// TestPing pings both sides of an idle session, and keeps their answers from
// each other and out of the counts.
func TestPing(t *testing.T) {
	s := newRig(t, often).session()
	const enough = 5
	var wg sync.WaitGroup
	seen := func(c *net.TCPConn, masked bool) {
		pings := make(chan struct{}, enough)
		wg.Go(func() {
			answers(c, masked, func(first byte, payload []byte) {
				assert.Equal(t, byte(fin|ping), first)
				assert.Equal(t, pingText, string(payload))
				select {
				case pings <- struct{}{}:
				default:
				}
			})
		})
		for range enough {
			receive(t, pings)
		}
	}
	seen(s.client, true)
	seen(s.worker, false)
	_, _ = s.client.CloseWrite(), s.worker.CloseWrite()
	r := s.ended()
	wg.Wait()
	require.Zero(t, r.BytesUp+r.BytesDown)
}

// TestPingIsMaskedTowardsServers holds the frames against RFC 6455, 5.1.
func TestPingIsMaskedTowardsServers(t *testing.T) {
	s := newRig(t, often).session()
	require.Equal(t, append([]byte{fin | ping, byte(len(pingText))}, pingText...), read(t, s.client, 2+len(pingText)))
	got := read(t, s.worker, 2+4+len(pingText))
	require.Equal(t, []byte{fin | ping, 0x80 | byte(len(pingText))}, got[:2])
	for i := range pingText {
		got[6+i] ^= got[2+i&3]
	}
	require.Equal(t, pingText, string(got[6:]))
}

// TestDead ends a session whose client or worker answers no ping, and one in
// which both do goes on.
func TestDead(t *testing.T) {
	short := func(o *relay.Options) { o.Ping, o.Dead = 16*time.Millisecond, 64*time.Millisecond }
	silent := func(byte, []byte) {}
	for name, c := range map[string]struct {
		client, worker bool // answers
		want           string
	}{
		"client": {false, true, relay.ReasonClient},
		"worker": {true, false, relay.ReasonLost},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRig(t, short).session()
			if c.client {
				go answers(s.client, true, silent)
			}
			if c.worker {
				go answers(s.worker, false, silent)
			}
			require.Equal(t, c.want, s.ended().Reason)
		})
	}
	t.Run("neither", func(t *testing.T) {
		// The limit is far above what a busy machine delays an answer by.
		const dead = 3 * time.Second
		s := newRig(t, func(o *relay.Options) { o.Ping, o.Dead = 16*time.Millisecond, dead }).session()
		go answers(s.client, true, silent)
		go answers(s.worker, false, silent)
		outlived(t, s, dead)
		require.Zero(t, s.ends.Load())
	})
}

// TestAnswersInAdvance finds a client that answers more pings than it was sent, and
// then no more.
func TestAnswersInAdvance(t *testing.T) {
	s := newRig(t, func(o *relay.Options) { o.Ping, o.Dead = 16*time.Millisecond, 64*time.Millisecond }).session()
	go answers(s.worker, false, func(byte, []byte) {})
	_ = read(t, s.client, len(ownPing(false)))
	write(t, s.client, bytes.Repeat(append([]byte{fin | pong, 0x80 | byte(len(pingText)), 0, 0, 0, 0}, pingText...), 3000))
	require.Equal(t, relay.ReasonClient, s.ended().Reason)
}

// outlived waits until the keeper would have given a side up for dead that owed an
// answer when it looked next.
func outlived(t *testing.T, s *session, dead time.Duration) {
	t.Helper()
	enough := s.Looks() + s.LooksDuring(dead)*5/4
	require.Eventually(t, func() bool { return s.Looks() >= enough || s.ends.Load() > 0 }, 3*patience, time.Millisecond)
}

// TestI8NotDead leaves a side to the stall limit that takes nothing and says
// nothing while bytes wait for it, be it here or in the kernel. It gets every
// byte when it reads again.
func TestI8NotDead(t *testing.T) {
	for name, size := range map[string]int{"here": 16 << 20, "in the kernel": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			// Long enough for what is to wait to be sent first, also on a busy machine.
			s := newRig(t, func(o *relay.Options) { o.Ping, o.Dead = 32*time.Millisecond, time.Second }).session()
			require.NoError(t, s.client.SetReadBuffer(16<<10))
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = s.worker.Write(frame(fin|binaryMessage, noise(1, size), false))
				answers(s.worker, false, func(byte, []byte) {})
			}()
			outlived(t, s, time.Second)
			require.Zero(t, s.ends.Load(), "it was given up")
			r := bufio.NewReader(s.client)
			_ = s.client.SetReadDeadline(time.Now().Add(patience))
			first, got := byte(fin|ping), []byte(nil)
			for first == fin|ping {
				var err error
				first, got, err = next(r)
				require.NoError(t, err)
			}
			require.Equal(t, sha256.Sum256(noise(1, size)), sha256.Sum256(got))
			_ = s.client.Close()
			require.Equal(t, relay.ReasonClient, s.ended().Reason)
			receive(t, sent)
		})
	}
}

// TestStalledInTheKernel cuts a client that takes nothing although all that
// waits for it has left the relay.
func TestStalledInTheKernel(t *testing.T) {
	var told <-chan *relay.Session
	s := newRig(t, func(o *relay.Options) {
		o.Ping, o.Dead, o.Stall = 16*time.Millisecond, 5*time.Second, 160*time.Millisecond
		told = foretold(o)
	}).session()
	require.NoError(t, s.client.SetReadBuffer(16<<10))
	go answers(s.worker, false, func(byte, []byte) {})
	write(t, s.worker, frame(fin|binaryMessage, noise(1, 1<<20), false))
	require.Equal(t, relay.ReasonStalled, s.ended().Reason)
	require.Same(t, s.Session, receive(t, told))
	require.Empty(t, told, "it was judged more than once")
}

// TestI8Pinged sends conversations with pings put in between all the time: what
// is left without them is what was sent.
func TestI8Pinged(t *testing.T) {
	s := newRig(t).session()
	up, _ := conversation(1, 1<<20, true)
	down, _ := conversation(2, 1<<20, false)
	var wg sync.WaitGroup
	var pings atomic.Int32
	follow := func(c *net.TCPConn, want []byte, masked bool) {
		r := bufio.NewReader(c)
		for len(want) > 0 {
			first, payload, err := next(r)
			if err != nil {
				t.Errorf("reading what the other side sent: %v", err)
				return
			}
			if first == fin|ping && string(payload) == pingText {
				pings.Add(1)
				continue
			}
			if masked {
				for i := range payload {
					payload[i] ^= "\xde\xad\xbe\xef"[i&3]
				}
			}
			f := frame(first, payload, masked)
			if !assert.LessOrEqual(t, len(f), len(want)) || !assert.Equal(t, sha256.Sum256(f), sha256.Sum256(want[:len(f)])) {
				return
			}
			want = want[len(f):]
		}
	}
	slowly := func(c *net.TCPConn, b []byte) {
		for len(b) > 0 {
			n := min(len(b), 7001)
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}
	done := make(chan struct{})
	wg.Go(func() { slowly(s.client, up) })
	wg.Go(func() { slowly(s.worker, down) })
	wg.Go(func() { follow(s.client, down, false) })
	wg.Go(func() { follow(s.worker, up, true) })
	go func() {
		defer close(done)
		wg.Wait()
	}()
	for {
		select {
		case <-done:
			require.NotZero(t, pings.Load())
			return
		default:
			s.Ping()
			runtime.Gosched()
		}
	}
}
