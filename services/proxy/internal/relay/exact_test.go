package relay_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// TestExact sends conversations both ways at once, cut anywhere, to readers that
// dawdle.
func TestExact(t *testing.T) {
	g := newRig(t)
	const sessions, size = 4, 1 << 20
	var wg sync.WaitGroup
	for i := range sessions {
		s := g.session()
		up, upMessages := conversation(uint64(2*i), size, true)
		down, downMessages := conversation(uint64(2*i+1), size, false)
		wg.Go(func() {
			s.converse(t, up, down, uint64(i))
			r := s.ended()
			assert.Equal(t, uint64(len(up)), r.BytesUp)
			assert.Equal(t, uint64(len(down)), r.BytesDown)
			assert.Equal(t, upMessages, r.MessagesUp)
			assert.Equal(t, downMessages, r.MessagesDown)
		})
	}
	wg.Wait()
}

// converse sends a stream each way at once and checks what arrives.
func (s *session) converse(t *testing.T, up, down []byte, seed uint64) {
	var all sync.WaitGroup
	all.Go(func() { dribble(s.client, up, seed) })
	all.Go(func() { dribble(s.worker, down, seed) })
	all.Go(func() { expect(t, s.worker, up, seed) })
	all.Go(func() { expect(t, s.client, down, seed) })
	all.Wait()
}

// dribble writes b in pieces and ends the stream.
func dribble(c *net.TCPConn, b []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(1<<(1+r.IntN(18))))
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
	_ = c.CloseWrite()
}

// expect reads the whole stream, with pauses.
func expect(t *testing.T, c *net.TCPConn, want []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 1<<17)
	for {
		n, err := c.Read(buf[:1+r.IntN(len(buf))])
		if !assert.LessOrEqual(t, n, len(want), "more than was sent") || !assert.True(t, bytes.Equal(want[:n], buf[:n]), "other bytes than were sent") {
			return
		}
		want = want[n:]
		if err != nil {
			assert.Equal(t, io.EOF, err)
			assert.Empty(t, want, "bytes are missing")
			return
		}
		if r.IntN(50) == 0 {
			<-time.After(time.Millisecond)
		}
	}
}

// TestNotWebSocket passes what is no WebSocket on all the same.
func TestNotWebSocket(t *testing.T) {
	g := newRig(t)
	s := g.session()
	garbage := bytes.Repeat([]byte{0xff}, 1000)
	write(t, s.worker, garbage)
	require.Equal(t, garbage, read(t, s.client, len(garbage)))
	write(t, s.worker, garbage)
	require.Equal(t, garbage, read(t, s.client, len(garbage)))
	s.Ping() // for which there is no place
	write(t, s.worker, garbage)
	require.Equal(t, garbage, read(t, s.client, len(garbage)))
	_ = s.client.Close()
	_ = s.worker.Close()
	require.EqualValues(t, 3*len(garbage), s.ended().BytesDown)
}

// TestEarly has bytes on both sides before the session begins.
func TestEarly(t *testing.T) {
	g := newRig(t)
	client, d := g.client()
	first := frame(fin|text, []byte("client"), true)
	write(t, client, first)
	settled(t, client)

	here, there := worker(t)
	early := frame(fin|text, []byte("behind its 101"), false)
	result := make(chan [2]uint64, 1)
	_, err := g.relay.Start(d.client.Load(), here, []byte(head), early, func(r relay.Result) { result <- [2]uint64{r.MessagesUp, r.MessagesDown} })
	require.NoError(t, err)
	require.Equal(t, first, read(t, there, len(first)))
	require.Equal(t, head+string(early), string(read(t, client, len(head)+len(early))))
	_ = client.Close()
	_ = there.Close()
	require.Equal(t, [2]uint64{1, 1}, receive(t, result))
}
