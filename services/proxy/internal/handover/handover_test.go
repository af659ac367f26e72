package handover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/handover"
)

const patience = 10 * time.Second

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

func offer(t *testing.T, path string, ln *net.TCPListener, taken func()) *handover.Offer {
	t.Helper()
	o, err := handover.Listen(t.Context(), path, map[string]handover.Socket{"public": ln}, taken)
	require.NoError(t, err)
	return o
}

// A chain of three: each has the socket of the one before it, and what waits in
// its backlog.
func TestChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	first := listen(t)
	address := first.Addr().String()
	for now, i := first, 0; i < 3; i++ {
		stopped := make(chan struct{})
		o := offer(t, path, now, func() {
			_ = now.Close()
			close(stopped)
		})
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		waiting, err := net.DialTimeout("tcp", address, patience)
		require.NoError(t, err)
		got, err := handover.Take(t.Context(), path)
		require.NoError(t, err)
		require.NotNil(t, got)
		require.Nil(t, got.Listener("other"))
		next := got.Listener("public").(*net.TCPListener)
		require.Equal(t, address, next.Addr().String())
		require.NoError(t, got.Serving())
		require.True(t, o.Held())
		select {
		case <-stopped:
		default:
			t.Fatal("the process before it has not stopped yet")
		}
		c, err := next.Accept()
		require.NoError(t, err)
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)
		b := make([]byte, 5)
		_, err = waiting.Read(b)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b))
		_, _ = c.Close(), waiting.Close()

		// The next one's offer is not the old one's to remove.
		after := offer(t, path, next, func() {})
		o.Close()
		require.FileExists(t, path)
		after.Close()
		require.NoFileExists(t, path)
		now = next
	}
}

// Whoever takes the sockets and dies before it serves has changed nothing.
func TestSuccessorDies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	ln := listen(t)
	o := offer(t, path, ln, func() { t.Error("it was stopped") })
	for range 3 {
		got, err := handover.Take(t.Context(), path)
		require.NoError(t, err)
		require.True(t, o.Held())
		got.Close()
		require.Eventually(t, func() bool { return !o.Held() }, patience, time.Millisecond)
	}
	c, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
	require.NoError(t, err)
	_ = c.Close()
	c, err = ln.Accept()
	require.NoError(t, err)
	_ = c.Close()
	o.Close()
	require.NoError(t, ln.Close())
	refused(t, ln)
}

// refused tells that nobody has the socket any more.
func refused(t *testing.T, ln *net.TCPListener) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}, patience, time.Millisecond)
}

// Two that take over at once stop the process before them once, and both know.
func TestTwoSuccessors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	var stops atomic.Int32
	o := offer(t, path, listen(t), func() {
		<-time.After(50 * time.Millisecond)
		stops.Add(1)
	})
	defer o.Close()
	var all [2]*handover.Taken
	for i := range all {
		var err error
		all[i], err = handover.Take(t.Context(), path)
		require.NoError(t, err)
	}
	for _, got := range all {
		require.NoError(t, got.Serving())
		require.EqualValues(t, 1, stops.Load(), "it has stopped, and once")
	}
}

// Passing sockets on leaves no descriptor behind.
func TestPassingLeavesNothing(t *testing.T) {
	// The garbage collector would close what is forgotten.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	path := filepath.Join(t.TempDir(), "h.sock")
	o := offer(t, path, listen(t), func() {})
	defer o.Close()
	take := func() {
		got, err := handover.Take(t.Context(), path)
		require.NoError(t, err)
		got.Close()
	}
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(all)
	}
	take()
	before := open()
	for range 50 {
		take()
	}
	// The offer may not have closed its end of the last ones yet.
	require.Eventually(t, func() bool { return open() <= before+5 }, patience, time.Millisecond)
}

func TestNobodyBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	got, err := handover.Take(t.Context(), path)
	require.NoError(t, err)
	require.Nil(t, got)

	// A process that was killed leaves its socket behind.
	dead, err := net.Listen("unix", path)
	require.NoError(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	got, err = handover.Take(t.Context(), path)
	require.NoError(t, err)
	require.Nil(t, got)
	offer(t, path, listen(t), func() {}).Close()

	_, err = handover.Listen(context.Background(), filepath.Join(path, "no", "folder"), nil, nil)
	require.ErrorContains(t, err, "handover.socket must be in a directory")
}

// The next process puts its own offer at the path at any time from when it has the sockets, also
// between a look at the path and its removal: so the old one leaves it alone.
func TestAPathOfASuccessorIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	o := offer(t, path, listen(t), func() {})
	got, err := handover.Take(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = got.Listener("public").Close() })
	require.NoError(t, got.Serving())
	o.Close()
	require.FileExists(t, path)
	none, err := handover.Take(t.Context(), path)
	require.NoError(t, err)
	require.Nil(t, none, "nobody listens there")
}

// Something else at the path is not taken for a proxy.
func TestStranger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	ln, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Write([]byte(`["public"]`))
			_ = c.Close()
		}
	}()
	_, err = handover.Take(t.Context(), path)
	require.ErrorContains(t, err, "did not pass on its sockets")
}

// Sockets that are not what was announced are not kept.
func TestStrangeSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	socket := listen(t)
	f, err := socket.File()
	require.NoError(t, err)
	rights := syscall.UnixRights(int(f.Fd()))
	go func() {
		if c, err := ln.AcceptUnix(); err == nil {
			_, _, _ = c.WriteMsgUnix([]byte(`["public", "admin"]`), rights, nil)
			_ = c.Close()
		}
	}()
	_, err = handover.Take(t.Context(), path)
	require.ErrorContains(t, err, `1 sockets came with the names`)
	require.NoError(t, f.Close())
	require.NoError(t, socket.Close())
	refused(t, socket)
}

// Whoever takes the sockets and says something else than it should stops nobody.
func TestStrangeWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.sock")
	o := offer(t, path, listen(t), func() { t.Error("it was stopped") })
	defer o.Close()
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("hello\n"))
	require.NoError(t, err)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, `["public"]`, string(got), "no answer, and the end")
}

// A socket that a killed process had made aside is in nobody's way, and what
// cannot be moved to its place is not left there.
func TestAside(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "h.sock")
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	require.NoError(t, os.WriteFile(aside, nil, 0o600))
	offer(t, path, listen(t), func() {}).Close()

	require.NoError(t, os.MkdirAll(filepath.Join(path, "is", "a", "folder"), 0o700))
	_, err := handover.Listen(t.Context(), path, nil, nil)
	require.Error(t, err)
	all, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, all, 1)
}
