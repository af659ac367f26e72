package relay_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// newRunningRig is newRig whose loops have begun: nbio waits forever for one that is
// stopped before.
func newRunningRig(t *testing.T) *rig {
	t.Helper()
	g := newRig(t)
	for range 2 { // loops, which take connections in turn
		g.client()
	}
	return g
}

func TestLinkToNobody(t *testing.T) {
	g := newRunningRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	k, err := g.relay.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err == nil {
		_, err = k.Write([]byte("hello"))
		require.NoError(t, k.Close())
	}
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, ln.Addr().String(), "it says whom it could not reach")

	_, err = g.relay.DialContext(t.Context(), "tcp", "worker.test:3131")
	require.Error(t, err, "a name is for package net")
}

// Whatever form an address has, the worker behind it is reached.
func TestLinkToAnyAddress(t *testing.T) {
	g := newRunningRig(t)
	// "[::]" takes IPv4 as well where a machine has no IPv6.
	ln, err := net.Listen("tcp", "[::]:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "::1"} {
		k, err := g.relay.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if host == "::1" && errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue // there is no IPv6 here; it was tried
		}
		require.NoError(t, err)
		write(t, k, []byte("hello"))
		c, err := ln.Accept()
		require.NoError(t, err)
		require.Equal(t, "hello", string(read(t, c, 5)))
		_, _ = k.Close(), c.Close()
	}
}

// A connection that is still being made is waited for no longer than asked.
func TestLinkToAFullHouse(t *testing.T) {
	g := newRunningRig(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()

	// The kernel drops those for whom there is no room; they try for a minute.
	full := false
	var all []net.Conn
	for i := 0; i < 8 && !full; i++ {
		k, err := g.relay.DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		all = append(all, k)
		require.NoError(t, k.SetDeadline(time.Now().Add(100*time.Millisecond)))
		if _, err = k.Write([]byte("hello")); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			full = true
		}
	}
	require.True(t, full)
	before := descriptors(t)
	for _, k := range all {
		require.NoError(t, k.Close())
	}
	require.Equal(t, before-len(all), descriptors(t))
}

func TestLinkThatGetsNoAnswer(t *testing.T) {
	g := newRunningRig(t)
	t.Run("in time", func(t *testing.T) {
		k, _ := g.link()
		require.NoError(t, k.SetDeadline(time.Now().Add(20*time.Millisecond)))
		_, err := k.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, k.SetDeadline(time.Time{}))
	})
	t.Run("before somebody loses patience", func(t *testing.T) {
		k, _ := g.link()
		failed := make(chan error, 1)
		go func() {
			_, err := k.Read(make([]byte, 1))
			failed <- err
		}()
		require.NoError(t, k.SetDeadline(time.Unix(1, 0)))
		require.ErrorIs(t, receive(t, failed), os.ErrDeadlineExceeded)
	})
	t.Run("but an end", func(t *testing.T) {
		k, there := g.link()
		require.NoError(t, there.Close())
		_, err := k.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("but a reset", func(t *testing.T) {
		k, there := g.link()
		require.NoError(t, there.SetLinger(0))
		require.NoError(t, there.Close())
		_, err := k.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// Nothing that came before the session is told of again, so all of it must be
// looked for: what was not read yet, and the end behind it.
func TestLinkWithMoreBehindTheAnswer(t *testing.T) {
	for name, end := range map[string]bool{"and it goes on": false, "and an end": true} {
		t.Run(name, func(t *testing.T) {
			g := newRunningRig(t)
			k, there := g.link()
			write(t, there, []byte("1234"))
			if end {
				require.NoError(t, there.Close())
			}
			require.Equal(t, "1", string(read(t, k, 1)))
			client, door := g.client()
			result := make(chan relay.Result, 1)
			_, err := g.relay.Start(door.client.Load(), k, []byte(head), []byte("1"), func(r relay.Result) { result <- r })
			require.NoError(t, err)
			require.NoError(t, k.Close(), "it is the session's now")
			if !end {
				write(t, there, []byte("5"))
				require.Equal(t, head+"12345", string(read(t, client, len(head)+5)))
				write(t, client, []byte("up"))
				require.Equal(t, "up", string(read(t, there, 2)))
				return
			}
			require.Equal(t, head+"1234", string(rest(t, client)))
			require.NoError(t, client.Close())
			require.Equal(t, relay.ReasonLost, receive(t, result).Reason)
		})
	}
}

func TestLinkReadInPieces(t *testing.T) {
	g := newRunningRig(t)
	k, there := g.link()
	write(t, there, []byte("1234"))
	settled(t, there)
	for _, want := range []string{"1", "2", "3", "4"} {
		require.Equal(t, want, string(read(t, k, 1)))
	}
}

// The loop may drop a connection by mistake at any time.
func TestLinkIsDroppedByMistake(t *testing.T) {
	g := newRunningRig(t)
	k, there := g.link()
	k.(*relay.Link).Drop()
	write(t, there, []byte("x"))
	require.Equal(t, "x", string(read(t, k, 1)))
}

func TestLinkOfAClosedRelay(t *testing.T) {
	g := newRig(t)
	before := descriptors(t)
	k, there := g.link()
	client, door := g.client()
	g.relay.Close()
	_, err := g.relay.Start(door.client.Load(), k, []byte(head), nil, nil)
	require.ErrorIs(t, err, relay.ErrClosed)
	_, _ = client.Close(), there.Close()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	k, err = g.relay.DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	write(t, k, []byte("request"))
	_, err = k.Read(make([]byte, 1))
	require.ErrorIs(t, err, relay.ErrClosed, "the loop may have ended")
	_, _ = k.Close(), ln.Close()
	require.Eventually(t, func() bool { return descriptors(t) == before }, patience, time.Millisecond)
}
