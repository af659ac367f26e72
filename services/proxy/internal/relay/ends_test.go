package relay_test

import (
	"crypto/sha256"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// sides runs a test once from client to worker and once the other way.
func sides(t *testing.T, f func(t *testing.T, from, to func(*session) *net.TCPConn)) {
	client := func(s *session) *net.TCPConn { return s.client }
	worker := func(s *session) *net.TCPConn { return s.worker }
	t.Run("client to worker", func(t *testing.T) { f(t, client, worker) })
	t.Run("worker to client", func(t *testing.T) { f(t, worker, client) })
}

// fill writes until the relay reads no more, because the other side takes
// nothing, and then a little that stays in the kernel.
func fill(t *testing.T, c *net.TCPConn) []byte {
	t.Helper()
	b := noise(7, 64<<10)
	var all []byte
	for {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Write(b)
		all = append(all, b[:n]...)
		if err != nil {
			_ = c.SetWriteDeadline(time.Time{})
			return all
		}
	}
}

// TestI8Paused closes while the relay has stopped reading, and reads later.
func TestI8Paused(t *testing.T) {
	sides(t, func(t *testing.T, from, to func(*session) *net.TCPConn) {
		s := newRig(t).session()
		sent := fill(t, from(s))
		_ = from(s).Close()
		require.Equal(t, sha256.Sum256(sent), sha256.Sum256(rest(t, to(s))))
		_ = to(s).Close()
		s.ended()
	})
}

// TestI8Reset closes with bytes unread, which makes a reset of the end, while
// both directions wait for a slow reader: what had reached the relay arrives.
func TestI8Reset(t *testing.T) {
	sides(t, func(t *testing.T, from, to func(*session) *net.TCPConn) {
		s := newRig(t).session()
		_ = fill(t, to(s)) // nobody reads it
		sent := fillAcknowledged(t, s, from(s))
		_ = from(s).Close()
		_ = to(s).SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(to(s))
		require.NoError(t, err)
		require.Len(t, got, len(sent))
		require.Equal(t, sha256.Sum256(sent), sha256.Sum256(got))
		_ = to(s).Close()
		s.ended()
	})
}

// fillAcknowledged writes until the relay reads no more, but only what its
// kernel has taken.
func fillAcknowledged(t *testing.T, s *session, c *net.TCPConn) []byte {
	t.Helper()
	b := noise(8, 16<<10-1)
	var all []byte
	for {
		write(t, c, b)
		all = append(all, b...)
		settled(t, c)
		if len(all) > 1<<20 && s.Blocked() {
			write(t, c, b)
			settled(t, c)
			return append(all, b...)
		}
	}
}

// TestHalfClose goes on towards the side that has sent its FIN, slowly.
func TestHalfClose(t *testing.T) {
	sides(t, func(t *testing.T, from, to func(*session) *net.TCPConn) {
		g := newRig(t, func(o *relay.Options) { o.Linger = 2 * time.Second })
		s := g.session()
		answer := noise(3, 6<<20)
		write(t, from(s), []byte("last words"))
		require.NoError(t, from(s).CloseWrite())
		require.Equal(t, "last words", string(rest(t, to(s))))
		go func() {
			for i := 0; i < len(answer); i += 1 << 20 {
				_, _ = to(s).Write(answer[i : i+1<<20])
				<-time.After(400 * time.Millisecond) // together longer than the linger time
			}
			_ = to(s).Close()
		}()
		<-time.After(200 * time.Millisecond) // a slow reader
		require.Equal(t, sha256.Sum256(answer), sha256.Sum256(rest(t, from(s))))
		s.ended()
	})
}

// TestLinger ends a session whose second side says nothing more.
func TestLinger(t *testing.T) {
	sides(t, func(t *testing.T, from, to func(*session) *net.TCPConn) {
		g := newRig(t, func(o *relay.Options) { o.Linger = 50 * time.Millisecond })
		s := g.session()
		_ = from(s).Close()
		require.Empty(t, rest(t, to(s)))
		s.ended()
		_, err := to(s).Write([]byte("too late"))
		if err == nil {
			_, err = to(s).Read(make([]byte, 1))
		}
		require.Error(t, err)
	})
}

// TestPeerResets ends the other side too, whether it is busy or idle.
func TestPeerResets(t *testing.T) {
	sides(t, func(t *testing.T, from, to func(*session) *net.TCPConn) {
		for _, busy := range []bool{false, true} {
			s := newRig(t).session()
			if busy {
				go func() {
					for {
						if _, err := to(s).Write(make([]byte, 32<<10)); err != nil {
							return
						}
					}
				}()
			}
			reset(from(s))
			_ = to(s).SetReadDeadline(time.Now().Add(patience))
			_, err := io.Copy(io.Discard, to(s))
			require.NoError(t, err)
			_ = to(s).Close()
			s.ended()
		}
	})
}

// TestReason names who ended a session.
func TestReason(t *testing.T) {
	farewell := frame(fin|closeFrame, []byte{3, 232}, false)
	for name, c := range map[string]struct {
		play func(t *testing.T, s *session)
		want string
	}{
		"client leaves": {func(t *testing.T, s *session) {
			_ = s.client.Close()
			rest(t, s.worker)
			_ = s.worker.Close()
		}, relay.ReasonClient},
		"client resets": {func(t *testing.T, s *session) {
			reset(s.client)
			rest(t, s.worker)
			_ = s.worker.Close()
		}, relay.ReasonClient},
		"worker vanishes": {func(t *testing.T, s *session) {
			_ = s.worker.Close()
			rest(t, s.client)
			_ = s.client.Close()
		}, relay.ReasonLost},
		"worker resets": {func(t *testing.T, s *session) {
			reset(s.worker)
			rest(t, s.client)
			_ = s.client.Close()
		}, relay.ReasonLost},
		"worker says goodbye": {func(t *testing.T, s *session) {
			write(t, s.worker, farewell)
			_ = s.worker.Close()
			require.Equal(t, farewell, rest(t, s.client))
			_ = s.client.Close()
		}, relay.ReasonWorker},
		"client says goodbye and the worker closes first": {func(t *testing.T, s *session) {
			write(t, s.client, farewell)
			require.Equal(t, farewell, read(t, s.worker, len(farewell)))
			write(t, s.worker, farewell)
			_ = s.worker.Close()
			require.Equal(t, farewell, rest(t, s.client))
			_ = s.client.Close()
		}, relay.ReasonClient},
		"worker says goodbye and the client closes first": {func(t *testing.T, s *session) {
			write(t, s.worker, farewell)
			require.Equal(t, farewell, read(t, s.client, len(farewell)))
			write(t, s.client, farewell)
			_ = s.client.Close()
			require.Equal(t, farewell, rest(t, s.worker))
			_ = s.worker.Close()
		}, relay.ReasonWorker},
		"cut": {func(_ *testing.T, s *session) { s.Session.Close("killed") }, "killed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRig(t).session()
			c.play(t, s)
			require.Equal(t, c.want, s.ended().Reason)
			require.EqualValues(t, 1, s.ends.Load())
		})
	}
}
