package relay_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// departures are the ways in which a client can leave.
var departures = map[string]func(*net.TCPConn){
	"closes":      func(c *net.TCPConn) { _ = c.Close() },
	"half closes": func(c *net.TCPConn) { _ = c.CloseWrite() },
	"resets":      reset,
}

// TestClientLeavesWhileItWaits tells so once, whether anybody listens yet or not.
func TestClientLeavesWhileItWaits(t *testing.T) {
	for how, leave := range departures {
		for _, early := range []bool{false, true} {
			t.Run(how, func(t *testing.T) {
				g := newRig(t)
				conn, d := g.client()
				c := d.client.Load()
				if early {
					// Frames that it sent before it had a worker are nobody's.
					write(t, conn, frame(fin|text, noise(1, 1000), true))
				}
				left, known := make(chan struct{}), make(chan struct{})
				c.OnLeave(func() { close(left) }) // a second call would panic
				leave(conn)
				receive(t, left)
				c.OnLeave(func() { close(known) })
				receive(t, known)
			})
		}
	}
}

// TestClientLeavesBeforeItsSession has a client go between the worker's yes and the
// session that it makes: that one ends at once, and the worker hears of it.
func TestClientLeavesBeforeItsSession(t *testing.T) {
	for how, leave := range departures {
		t.Run(how, func(t *testing.T) {
			g := newRig(t)
			conn, d := g.client()
			c := d.client.Load()
			left := make(chan struct{})
			c.OnLeave(func() { close(left) })
			leave(conn)
			receive(t, left)
			here, there := worker(t)
			ended := make(chan relay.Result, 2)
			_, err := g.relay.Start(c, here, []byte(head), []byte("early"), func(r relay.Result) { ended <- r })
			require.NoError(t, err)
			require.Equal(t, relay.ReasonClient, receive(t, ended).Reason)
			_ = there.SetReadDeadline(time.Now().Add(patience))
			_, err = there.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.Zero(t, g.relay.Len())
			require.Empty(t, ended)
		})
	}
}

// TestClientLeavesWhileItsSessionIsLookedAt has the keeper look at a session whose
// client turns out to have left. It takes the race detector to see that they get in
// each other's way.
func TestClientLeavesWhileItsSessionIsLookedAt(t *testing.T) {
	g := newRig(t, often)
	conn, d := g.client()
	c := d.client.Load()
	left := make(chan struct{})
	c.OnLeave(func() { close(left) })
	_ = conn.Close()
	receive(t, left)
	here, there := worker(t)
	release := c.Hold()
	started, ended := make(chan error, 1), make(chan relay.Result, 2)
	go func() {
		_, err := g.relay.Start(c, here, []byte(head), nil, func(r relay.Result) { ended <- r })
		started <- err
	}()
	looked := assert.Eventually(t, func() bool { return g.relay.Looks() >= 2 }, patience, time.Millisecond)
	release()
	require.True(t, looked)
	require.NoError(t, receive(t, started))
	require.Equal(t, relay.ReasonClient, receive(t, ended).Reason)
	_ = there.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(there)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Zero(t, g.relay.Len())
	require.Empty(t, ended)
}

// TestClientLeavesAsItsSessionBegins has clients go in that very moment, and workers
// too: each session ends once, and nothing of it is left.
func TestClientLeavesAsItsSessionBegins(t *testing.T) {
	g := newRig(t, func(o *relay.Options) { o.Linger = 100 * time.Millisecond })
	leave := []func(*net.TCPConn){departures["closes"], departures["half closes"], departures["resets"]}
	files := 0
	const rounds = 300
	for i := range rounds {
		conn, d := g.client()
		here, there := worker(t)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if i%5 == 0 {
				reset(there)
			}
			leave[i%len(leave)](conn)
			_ = there.Close()
		}()
		var ends atomic.Int32
		ended := make(chan struct{}, 2)
		_, err := g.relay.Start(d.client.Load(), here, []byte(head), nil, func(relay.Result) {
			ends.Add(1)
			ended <- struct{}{}
		})
		require.NoError(t, err)
		receive(t, gone)
		_ = conn.Close()
		receive(t, ended)
		require.EqualValues(t, 1, ends.Load())
		if i == 10 {
			files = descriptors(t)
		}
	}
	require.Eventually(t, func() bool { return g.relay.Len() == 0 && descriptors(t) <= files+5 }, patience, time.Millisecond)
}

// TestDroppedByMistake has the loop drop connections whose peers are there, as it
// does for an event that was meant for an earlier connection with the same
// descriptor. Nobody notices, be it in the middle of a conversation or at rest.
func TestDroppedByMistake(t *testing.T) {
	g := newRig(t)
	before := descriptors(t)
	s := g.session()
	sent, _ := conversation(1, 4<<20, true)
	answer, _ := conversation(2, 4<<20, false)
	for _, way := range []struct {
		from, to *net.TCPConn
		b        []byte
	}{{s.client, s.worker, sent}, {s.worker, s.client, answer}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for rest := way.b; len(rest) > 0; {
				n := min(len(rest), 64<<10)
				if _, err := way.from.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		for got := 0; got < len(way.b); {
			n := min(len(way.b)-got, 200_000)
			require.Equal(t, way.b[got:got+n], read(t, way.to, n))
			got += n
			s.dropped(t)
		}
		receive(t, done)
	}
	s.dropped(t)
	message := frame(fin|text, []byte("still there"), true)
	write(t, s.client, message)
	require.Equal(t, message, read(t, s.worker, len(message)))
	_, _ = s.client.Close(), s.worker.Close()
	s.ended()
	require.Eventually(t, func() bool { return descriptors(t) <= before }, patience, time.Millisecond)
}

// dropped has the loop drop both connections and waits until it has them again.
func (s *session) dropped(t *testing.T) {
	t.Helper()
	was := s.Watching()
	s.Drop()
	require.Eventually(t, func() bool {
		now := s.Watching()
		return now[0] != was[0] && now[1] != was[1]
	}, patience, 100*time.Microsecond)
}

// TestWaitingClientDroppedByMistake keeps its place, and its leaving is still seen.
func TestWaitingClientDroppedByMistake(t *testing.T) {
	g := newRig(t)
	for _, leaves := range []bool{false, true} {
		conn, d := g.client()
		c := d.client.Load()
		left := make(chan struct{})
		c.OnLeave(func() { close(left) })
		for range 3 {
			was := c.Watching()
			_ = was.CloseWithError(io.EOF)
			require.Eventually(t, func() bool { return c.Watching() != was }, patience, 100*time.Microsecond)
		}
		require.Empty(t, left)
		if leaves {
			_ = conn.Close()
			receive(t, left)
			continue
		}
		here, there := worker(t)
		_, err := g.relay.Start(c, here, []byte(head), nil, nil)
		require.NoError(t, err)
		require.Equal(t, head, string(read(t, conn, len(head))))
		write(t, there, []byte("hello"))
		require.Equal(t, "hello", string(read(t, conn, len("hello"))))
	}
}
