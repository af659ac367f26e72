package gate

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// brought is what a proxy sends that says who it is.
func brought(session, proxy string) string {
	return named(session, proxy, proxy+"'s voucher")
}

// named is what somebody sends who names a proxy.
func named(session, proxy, voucher string) string {
	who := "x-pwdist-proxy: " + proxy + "\r\nx-pwdist-voucher: " + voucher + "\r\n"
	return strings.Replace(handshake(session, 1), "x-pwdist-session", who+"x-pwdist-session", 1)
}

// ready takes the connection that the gate has opened for a session to come.
func (r *rig) ready() *wire {
	r.t.Helper()
	require.NoError(r.t, r.server.SetDeadline(time.Now().Add(patience)))
	c, err := r.server.AcceptUnix()
	require.NoError(r.t, err)
	return r.wire(c)
}

// spareOne takes that connection once a session finds it, when nothing was said on it.
func (r *rig) spareOne() *wire {
	r.t.Helper()
	next := r.ready()
	require.Eventually(r.t, func() bool {
		r.spare.mu.Lock()
		defer r.spare.mu.Unlock()
		return r.spare.conn != nil
	}, patience, time.Millisecond)
	return next
}

// bring has a proxy bring a session, from its start to its end, and returns the
// connection that the gate opens for the next.
func (r *rig) bring(session, proxy string) *wire {
	r.t.Helper()
	r.assign(session)
	client := r.dial(brought(session, proxy))
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	_ = client.Close()
	require.Empty(r.t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
	return r.spareOne()
}

func (r *rig) checks() (n int) {
	r.set(func() { n = r.checked })
	return n
}

// greet answers a handshake on a connection that was there before it.
func (w *wire) greet(answer string) {
	w.t.Helper()
	head, err := readHead(w.in)
	require.NoError(w.t, err)
	require.Contains(w.t, string(head), "GET /secret HTTP/1.1")
	w.send(answer)
}

func TestAKnownProxysSessionFindsTheServerWaiting(t *testing.T) {
	r := newRig(t, func(*Options) {})
	server := r.bring("a", "p")
	require.Equal(t, 1, r.checks())

	r.assign("b")
	client := r.dial(brought("b", "p"))
	server.greet(yes)
	client.take(yes)
	require.Equal(t, 1, r.checks(), "the pool is asked once for each session")
	require.Len(t, r.starts(), 2)
	client.send("up")
	server.take("up")
	server.send("down")
	client.take("down")
}

func TestAnUnknownProxyIsAskedFirst(t *testing.T) { // I10
	for name, request := range map[string]string{
		"of another name": brought("none", "q"),
		"without a name":  brought("none", ""),
		"of a known name": named("none", "p", ""), // which is in events and records
		"with its name":   named("none", "p", "p"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			server := r.bring("a", "p")
			status, code, _ := r.dial(request).answer()
			require.Equal(t, 403, status)
			require.Equal(t, "no_assignment", code)
			require.Equal(t, 2, r.checks())
			require.NoError(t, r.Stop(context.Background()))
			require.Empty(t, server.takeEnd(), "nothing reached the server")
		})
	}
}

// TestALongVoucherIsNone bounds what is remembered.
func TestALongVoucherIsNone(t *testing.T) {
	for n, want := range map[int]int{maxVoucher: maxVoucher, maxVoucher + 1: 0} {
		q, err := parseRequest([]byte(named("s", "p", strings.Repeat("x", n))))
		require.NoError(t, err)
		require.Len(t, q.voucher, want)
	}
}

func TestAfterALieAProxyIsAskedFirstAgain(t *testing.T) { // I10
	r := newRig(t, func(*Options) {})
	server := r.bring("a", "p")
	r.set(func() { r.answer = state.StartUnknown })

	liar := r.dial(brought("none", "p") + "to the browser")
	server.greet(yes)
	status, code, _ := liar.answer()
	require.Equal(t, 403, status)
	require.Equal(t, "no_assignment", code)
	require.Empty(t, server.takeEnd(), "nothing behind the handshake reached the server")
	require.Equal(t, 1, r.checks())

	status, _, _ = r.dial(brought("none", "p")).answer()
	require.Equal(t, 403, status)
	require.Equal(t, 2, r.checks(), "now the pool is asked before the server")
	require.Len(t, r.starts(), 1)
}

func TestTheServersRefusalIsNotForStrangers(t *testing.T) { // I10
	const no = "HTTP/1.1 428 Precondition Required\r\n\r\nversion mismatch"
	for _, assigned := range []bool{true, false} {
		t.Run(fmt.Sprintf("assigned %t", assigned), func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			_ = r.bring("a", "p").Close()
			if assigned {
				r.assign("b")
			}
			client := r.dial(brought("b", "p"))
			server, _ := r.accept()
			server.send(no)
			_ = server.Close()
			if assigned {
				require.Equal(t, no, client.takeEnd())
			} else {
				status, code, _ := client.answer()
				require.Equal(t, 403, status)
				require.Equal(t, "no_assignment", code)
			}
			require.Len(t, r.starts(), 1)
		})
	}
}

// A server closes a connection on which nothing comes, perhaps in the very
// moment in which something comes.
func TestASpareConnectionThatTheServerGivesUpIsReplaced(t *testing.T) {
	for name, giveUp := range map[string]func(*wire){
		"long before":   func(spare *wire) { _ = spare.Close() },
		"with a word":   func(spare *wire) { spare.send("HTTP/1.1 408 Request Timeout\r\n\r\n"); _ = spare.Close() },
		"in the moment": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			spare := r.bring("a", "p")
			if giveUp != nil {
				giveUp(spare)
			}
			r.assign("b")
			client := r.dial(brought("b", "p"))
			if giveUp == nil {
				spare.greet("HTTP/1.1 408 Request Timeout\r\n\r\n")
				_ = spare.Close()
			}
			server, _ := r.accept()
			server.send(yes)
			client.take(yes)
			require.Len(t, r.starts(), 2)
		})
	}
}

// TestNoSpareConnectionIsLeftBehind: one that comes too late, because another
// is there or the gate has stopped, is closed.
func TestNoSpareConnectionIsLeftBehind(t *testing.T) {
	dir, err := os.MkdirTemp("", "gate")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })

	var s spare
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { s.refill(t.Context(), browser.Endpoint{Socket: l.Addr().String()}, kind{}) })
	}
	wait.Wait()
	s.close()
	s.refill(t.Context(), browser.Endpoint{Socket: l.Addr().String()}, kind{})
	c, known := s.take(browser.Endpoint{}, "", nil)
	require.Nil(t, c)
	require.Nil(t, known)
	require.NoError(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(100*time.Millisecond)))
	for n := 0; ; n++ {
		c, err := l.Accept()
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Positive(t, n)
			break
		}
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		_ = c.Close()
	}
}
