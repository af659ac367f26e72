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
	// The kernel answers no more than two probes a second (tcp_invalid_ratelimit), so who reads nothing
	// can be silent for more than one.
	const stall = 2 * time.Second
	r := newRig(t, func(o *Options) { o.Slots, o.Stall = 3, stall })
	r.leastSilence = 0
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

// A stall limit that is shorter than the pauses between the kernel's probes ends nobody of whom
// a packet or two were lost.
func TestAPeerThatIsAwayForAMoment(t *testing.T) {
	const stall = 500 * time.Millisecond
	r := newRig(t, func(o *Options) { o.Stall = stall })
	client, server := r.open("there")
	hears := deaf(t, client)
	server.send("x")
	<-time.After(3 * stall)
	hears()
	client.take("x")
	server.send("y")
	client.take("y") // it was not the end
}

// deaf has the kernel drop every packet to a connection, as if its machine were gone. What it
// returns undoes that.
func deaf(t *testing.T, w *wire) (hears func()) {
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
	return func() {
		require.NoError(t, raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}))
		require.NoError(t, failed)
	}
}
