package egress

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestAServerThatIgnoresTheEndKeepsNoTunnel(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	r.linger = 10 * time.Millisecond
	seen, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	c := tunnel(t, r, func(up net.Conn) {
		_, _ = io.ReadAll(up)
		close(seen)
		<-release // open and silent
	})
	require.NoError(t, c.Close())
	<-seen
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.tunnels) == 0 }, 20*time.Second, time.Millisecond)
}

// Nobody sees the browser's end behind what the server does not take.
func TestAServerThatTakesNothingKeepsNoTunnel(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	r.stuck = 500 * time.Millisecond
	release := make(chan struct{})
	defer close(release)
	c := tunnel(t, r, func(net.Conn) { <-release })
	b := make([]byte, 1<<20)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.Write(b); err != nil {
			break
		}
	}
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.tunnels) == 0 }, 20*time.Second, time.Millisecond)
}

// limited tells of the deadlines that a connection is given.
type limited struct {
	*net.TCPConn
	given chan struct{}
}

func (l limited) SetReadDeadline(at time.Time) error {
	err := l.TCPConn.SetReadDeadline(at)
	l.given <- struct{}{}
	return err
}

// expire ends the deadline now.
func (l limited) expire(t *testing.T) {
	t.Helper()
	require.NoError(t, l.TCPConn.SetReadDeadline(time.Unix(1, 0)))
}

// pair is the two ends of a connection.
func pair(t *testing.T) (near limited, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	a, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return limited{a.(*net.TCPConn), make(chan struct{}, 10)}, b.(*net.TCPConn)
}

func TestAServerThatGoesOnSendingIsNotCut(t *testing.T) {
	down, browser := pair(t)
	up, server := pair(t)
	over := make(chan struct{})
	go func() {
		defer close(over)
		splice(down, bufio.NewReader(strings.NewReader("")), up, time.Hour)
	}()
	pass := func(from io.Writer, to io.Reader) {
		t.Helper()
		_, err := from.Write([]byte{'.'})
		require.NoError(t, err)
		_, err = io.ReadFull(to, make([]byte, 1))
		require.NoError(t, err)
	}
	pass(server, browser)
	require.Empty(t, up.given, "both may be silent for as long as they like")

	require.NoError(t, browser.CloseWrite())
	<-up.given
	for range 3 {
		pass(server, browser)
		up.expire(t)
		<-up.given // what came renewed it
	}
	up.expire(t)
	<-over
	_, err := browser.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, up.given)
}

func TestABrowserMayTakeItsTimeAfterTheServersEnd(t *testing.T) {
	down, browser := pair(t)
	up, server := pair(t)
	over := make(chan struct{})
	go func() {
		defer close(over)
		splice(down, bufio.NewReader(strings.NewReader("")), up, time.Hour)
	}()
	_, err := io.WriteString(server, "last words")
	require.NoError(t, err)
	require.NoError(t, server.CloseWrite())
	got, err := io.ReadAll(browser)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	require.Empty(t, down.given)
	require.NoError(t, browser.Close())
	<-over
	require.Empty(t, down.given)
}
