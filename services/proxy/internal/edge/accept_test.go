package edge

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The kernel probes what is silent for longer than the relay's pings leave it.
func TestAcceptedConnectionsInherit(t *testing.T) {
	// Of these, "[::]" takes IPv4 as well where a machine has no IPv6.
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
		ln, err := net.Listen("tcp", address)
		require.NoError(t, err)
		defer func() { _ = ln.Close() }()
		tcp := ln.(*net.TCPListener)
		require.NoError(t, inherit(tcp))
		file, err := tcp.File()
		require.NoError(t, err)
		defer func() { _ = file.Close() }()
		raw, err := file.SyscallConn()
		require.NoError(t, err)

		client, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer func() { _ = client.Close() }()
		c, err := (&acceptor{raw: raw}).accept()
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		require.Equal(t, client.LocalAddr().String(), c.RemoteAddr().String())
		for _, o := range []struct{ level, name, want int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		} {
			got, err := unix.GetsockoptInt(c.fd, o.level, o.name)
			require.NoError(t, err)
			require.Equal(t, o.want, got, "option %d", o.name)
		}
		flags, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.O_NONBLOCK)
	}
}

// Clients that came together are not probed together.
func TestClientsAreProbedOneByOne(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	require.NoError(t, inherit(ln.(*net.TCPListener)))
	file, err := ln.(*net.TCPListener).File()
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	raw, err := file.SyscallConn()
	require.NoError(t, err)
	times := map[int]bool{}
	a := acceptor{raw: raw}
	for range 10 * sameIdle {
		client, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		c, err := a.accept()
		require.NoError(t, err)
		idle, err := unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		require.NoError(t, err)
		require.GreaterOrEqual(t, idle, 60)
		require.Less(t, idle, 180)
		times[idle] = true
		_, _ = client.Close(), c.Close()
	}
	require.Greater(t, len(times), 5)
}

// A service manager may make its socket block. Clients are served as ever, and accepting still
// ends at once.
func TestASocketThatBlocks(t *testing.T) {
	for name, end := range map[string]func(*port){
		"leave": func(p *port) { receive(t, p.Leave()) },
		"drain": func(p *port) { p.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			p := serve(t, func(o *Options) { o.Listener = ln })
			require.NoError(t, p.listener.sockets.raw.Control(func(fd uintptr) { require.NoError(t, unix.SetNonblock(int(fd), false)) }))
			for range 3 {
				p.send(upgrade("/", stock...))
				receive(t, p.upgrades)
			}
			ended := make(chan struct{})
			go func() { end(p); close(ended) }()
			receive(t, ended)
		})
	}
}
