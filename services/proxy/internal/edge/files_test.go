package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// TestNoDescriptor leaves no descriptor to accept with: clients are told to come
// back, nothing spins while nobody comes, and afterwards all is as before.
func TestNoDescriptor(t *testing.T) {
	p := serve(t)
	p.send(upgrade("/", stock...)) // whatever is opened at the first use is open
	receive(t, p.upgrades)
	to := unix.SockaddrInet4{Port: portOf(t, p), Addr: [4]byte{127, 0, 0, 1}}
	clients := make([]int, 3) // made before there is nothing to make them of
	for i := range clients {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer func() { _ = unix.Close(fd) }()
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
		clients[i] = fd
	}
	full, free := exhaust(t)
	full()
	defer free()

	var busy time.Duration
	answers := make([]string, len(clients))
	for i, fd := range clients {
		if i == 1 { // accepting has failed once
			busy = cpu()
			<-time.After(500 * time.Millisecond)
			busy = cpu() - busy
		}
		if unix.Connect(fd, &to) != nil {
			continue
		}
		_, _ = unix.Write(fd, []byte(upgrade("/", stock...)))
		b := make([]byte, 4096)
		for n := 1; n > 0; {
			n, _ = whole(func() (int, error) { return unix.Read(fd, b) })
			answers[i] += string(b[:max(n, 0)])
		}
	}
	free()
	t.Log("at the limit it uses", busy, "of CPU time in half a second")
	require.Less(t, busy, 50*time.Millisecond, "it spins")
	for _, a := range answers {
		require.Contains(t, a, "HTTP/1.1 503 ")
		require.Contains(t, a, string(refusal.OutOfDescriptors))
	}
	require.Contains(t, p.log.String(), "out of file descriptors")

	c := p.send("GET /json HTTP/1.1\r\nHost: pool\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
}

// TestNoDescriptorForTheLoop leaves one descriptor: a client is accepted, and there is none
// for the loop to watch it by. Nobody waits for its request.
func TestNoDescriptorForTheLoop(t *testing.T) {
	p := serve(t)
	p.send(upgrade("/", stock...)) // whatever is opened at the first use is open, and descriptors are asked for now and then
	receive(t, p.upgrades)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(client) }()
	require.NoError(t, unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	to := unix.SockaddrInet4{Port: portOf(t, p), Addr: [4]byte{127, 0, 0, 1}}
	last, err := unix.Open(os.DevNull, unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	full, free := exhaust(t)
	full()
	defer free()
	_ = unix.Close(last)
	err = unix.Connect(client, &to)
	n, ended := whole(func() (int, error) { return unix.Read(client, make([]byte, 1)) })
	free()
	require.NoError(t, err)
	require.NoError(t, ended)
	require.Zero(t, n, "it was not dropped")
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "AddConnNonTLSNonBlocking failed") }, patience, time.Millisecond)
	receive(t, p.Leave())
}

// TestShedIsNotInterrupted has signals arrive while a client is told that there is no
// descriptor for it.
func TestShedIsNotInterrupted(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fds[1]), "client")
	client, err := net.FileConn(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	defer func() { _ = client.Close() }()
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))

	thread, done := make(chan int), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		thread <- unix.Gettid()
		shed(&accepted{fd: fds[0]}, patience)
	}()
	tid := <-thread
	request := upgrade("/", stock...)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range len(request) { // one byte after the other, so that it reads often
		_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		_, err := client.Write([]byte(request[i : i+1]))
		require.NoError(t, err)
		if i%8 == 0 {
			<-tick.C
		}
	}
	answer, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Contains(t, string(answer), "HTTP/1.1 503 ")
	_ = client.Close()
	<-done
}

// exhaust returns what takes all descriptors of this process, and gives them back.
func exhaust(t *testing.T) (full, free func()) {
	t.Helper()
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	return func() {
			// All below the lowest free one are in use.
			lowest, err := unix.Open(os.DevNull, unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, unix.Close(lowest))
			now := unix.Rlimit{Cur: uint64(lowest), Max: before.Max}
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &now))
		}, func() {
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: before.Cur, Max: before.Max}))
		}
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func portOf(t *testing.T, p *port) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", p.Addr().String())
	require.NoError(t, err)
	return a.Port
}
