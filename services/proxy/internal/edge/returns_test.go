package edge

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/lesismal/nbio"
	"github.com/stretchr/testify/require"
)

// TestDroppedByMistake has the loop drop connections whose peers are there: as
// it does for an event that was meant for an earlier connection with the same
// descriptor. Their requests are served all the same.
func TestDroppedByMistake(t *testing.T) {
	doors := make(chan *nbio.Conn, 16)
	p := serve(t, func(o *Options) { o.opened = func(c *nbio.Conn) { doors <- c } })
	request := upgrade("/?name=here", stock...)
	for _, sent := range []int{0, 1, 30, len(request) - 1} {
		c := p.dial()
		drop := receive(t, doors)
		for range 3 {
			if sent > 0 {
				// In the parser, not only in the kernel.
				d := drop.Session().(*door)
				if len(seen(d)) == 0 {
					_, err := io.WriteString(c, request[:sent])
					require.NoError(t, err)
				}
				require.Eventually(t, func() bool { return len(seen(d)) == sent }, patience, time.Millisecond)
			}
			_ = drop.CloseWithError(io.EOF)
			drop = receive(t, doors)
			if sent > 0 {
				require.Len(t, seen(drop.Session().(*door)), sent, "what had come is lost")
			}
		}
		_, err := io.WriteString(c, request[sent:])
		require.NoError(t, err)
		u := receive(t, p.upgrades)
		require.Equal(t, "here", u.Ask.Name)
		require.Equal(t, "127.0.0.1", u.Remote)
		left := leaves(u)
		_ = c.Close()
		receive(t, left)
	}
	receive(t, p.unfinished.none(time.Time{}))
}

// TestGoneIsGone does not bring back who has left.
func TestGoneIsGone(t *testing.T) {
	doors := make(chan *nbio.Conn, 16)
	p := serve(t, func(o *Options) { o.opened = func(c *nbio.Conn) { doors <- c } })
	for _, leave := range []func(*net.TCPConn){
		func(c *net.TCPConn) { _ = c.Close() },
		func(c *net.TCPConn) { _ = c.CloseWrite() },
		func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		c := p.send("GET / HT")
		receive(t, doors)
		leave(c)
		receive(t, p.unfinished.none(time.Time{}))
	}
	require.Empty(t, doors)
}

func seen(d *door) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}
