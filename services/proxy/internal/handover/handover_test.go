package handover_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
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
		<-stopped
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
		got.Close()
	}
	c, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
	require.NoError(t, err)
	_ = c.Close()
	c, err = ln.Accept()
	require.NoError(t, err)
	_ = c.Close()
	o.Close()
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
