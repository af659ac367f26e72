package relay_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// FuzzSession has both sides of a session send anything, cut anywhere, with pings
// put between it, and leave in any way: whoever is not reset gets every byte, with
// pings only where a frame may begin, and another session on the same loop goes on.
func FuzzSession(f *testing.F) {
	up, _ := conversation(1, 5000, true)
	down, _ := conversation(2, 5000, false)
	f.Add(up, down, uint64(0))
	f.Add(up, []byte{}, uint64(1))
	f.Add([]byte{0x82, 0xff, 0xff}, down[:len(down)-1], uint64(2))
	f.Add(frame(fin|closeFrame, []byte{3}, true), frame(fin|closeFrame, nil, false), uint64(3))
	f.Add(bytes.Repeat(frame(fin|ping, noise(1, 125), true), 100), bytes.Repeat([]byte{fin | pong, 0}, 1000), uint64(4))
	f.Add(bytes.Repeat(append([]byte{fin | pong, 0x86, 0, 0, 0, 0}, pingText...), 50), frame(fin|pong, []byte(pingText), false), uint64(5))
	// Without pings of its own, of which the other session would get some as well.
	g := newRig(f, func(o *relay.Options) { o.Ping = 0 })
	good := g.session()
	message := frame(fin|text, []byte("and the others?"), true)
	f.Fuzz(func(t *testing.T, up, down []byte, seed uint64) {
		s := (&rig{t: t, relay: g.relay, address: g.address, doors: g.doors}).session()
		r := rand.New(rand.NewPCG(seed, 0))
		resets := [2]bool{r.IntN(8) == 0, r.IntN(8) == 0}
		sent := [2][]byte{up, down}
		var got [2][]byte // by who sent it
		var senders, readers sync.WaitGroup
		for from := range sent {
			sender, reader := s.far(from)
			seed := r.Uint64()
			senders.Go(func() {
				pour(sender, sent[from], rand.New(rand.NewPCG(seed, 1)), s.Ping)
				if resets[from] {
					reset(sender)
				} else {
					_ = sender.CloseWrite()
				}
			})
			readers.Go(func() {
				_ = reader.SetReadDeadline(time.Now().Add(patience))
				got[from], _ = io.ReadAll(reader)
			})
		}
		senders.Wait()
		readers.Wait()
		_, _ = s.client.Close(), s.worker.Close()
		result := s.ended()
		require.EqualValues(t, 1, s.ends.Load())
		for from, b := range got {
			whole := follows(t, sent[from], b, from == 0)
			// Whether the rest of such an answer is missing or was taken out, nobody can tell.
			if !resets[0] && !resets[1] && !bytes.Contains(sent[from], []byte(pingText)) {
				require.True(t, whole, "bytes from side %d are missing", from)
			}
		}
		if !resets[0] && !resets[1] && !bytes.Contains(up, []byte(pingText)) && !bytes.Contains(down, []byte(pingText)) {
			require.EqualValues(t, len(up), result.BytesUp)
			require.EqualValues(t, len(down), result.BytesDown)
		}
		write(t, good.client, message)
		require.Equal(t, message, read(t, good.worker, len(message)))
	})
}

// pour writes b in pieces, with something done between them.
func pour(c *net.TCPConn, b []byte, r *rand.Rand, between func()) {
	for len(b) > 0 {
		n := 1 + r.IntN(len(b))
		if r.IntN(2) == 0 {
			n = min(n, 1+r.IntN(16))
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
		if r.IntN(4) == 0 {
			between()
		}
	}
}

// follows tells whether all of sent was received, and fails where something else
// was. The relay's own pings may stand before a frame, and answers to them may be
// taken out.
func follows(t *testing.T, sent, got []byte, masked bool) (whole bool) {
	t.Helper()
	var f wsframe.Follower
	answer := wsframe.PingSize(len(pingText), masked)
	for len(got) > 0 || len(sent) > 0 {
		if len(got) > 0 && bytes.HasPrefix(sent, got) {
			return len(sent) == len(got) // a reset may cut anything
		}
		if f.AtBoundary() {
			if n := len(ownPing(masked)); !f.CloseSeen() && isOwn(got, n, ping, masked) && !isOwn(sent, n, ping, masked) {
				got = got[n:]
				continue
			}
			if isOwn(sent, answer, pong, masked) && !isOwn(got, answer, pong, masked) {
				sent = sent[answer:]
				continue
			}
		}
		if len(got) == 0 {
			return false
		}
		if len(sent) == 0 || got[0] != sent[0] {
			t.Fatalf("got %x where %x was sent", got[:min(len(got), 20)], sent[:min(len(sent), 20)])
		}
		_ = f.Feed(got[:1])
		got, sent = got[1:], sent[1:]
	}
	return true
}

// isOwn tells whether b begins with a frame of the relay's, or the answer to one.
func isOwn(b []byte, size int, op byte, masked bool) bool {
	if len(b) < size || b[0] != fin|op {
		return false
	}
	b = bytes.Clone(b[:size])
	b[0] = fin | pong
	payload, ok := wsframe.OnlyPong(b, masked)
	return ok && string(payload) == pingText
}
