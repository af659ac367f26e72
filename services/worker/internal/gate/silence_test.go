package gate

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The machine at the other end is gone: nothing it is sent is acknowledged. That the
// session may be slow for much longer than this does not keep it.
func TestAPeerWhoseMachineIsGone(t *testing.T) {
	const stall = time.Second
	r := newRig(t, func(o *Options) { o.Slots, o.Stall = 3, stall })
	slow, pouring := r.open("slow")
	idle, idleServer := r.open("idle")
	sent := frame(make([]byte, 16<<20), false)
	go func() { _, _ = pouring.Write(sent) }()

	for range 2 {
		client, server := r.open("gone")
		deaf(t, client)
		server.send("x")
		end := r.waitEnd()
		require.Equal(t, "gone", end.Session)
		require.Equal(t, "proxy_lost", end.Reason)
	}
	// The others have said nothing for longer, and one has read nothing.
	idleServer.send("y")
	idle.take("y")
	slow.take(string(sent))
}

// deaf has the kernel drop every packet to a connection, as if its machine were gone.
func deaf(t *testing.T, w *wire) {
	t.Helper()
	raw, err := w.Conn.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	require.NoError(t, err)
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // of each packet
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	}))
	require.NoError(t, failed)
}
