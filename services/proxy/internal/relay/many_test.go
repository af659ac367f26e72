package relay_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// TestManyIdle has thousands of sessions in which nobody says anything but to the
// relay's pings, for longer than it bears a peer that does not answer. None of them
// ends, none has a goroutine, and the few whose client or worker is gone are found
// among them.
func TestManyIdle(t *testing.T) {
	const (
		sessions  = 2000
		each      = 50 // has a side that does not answer
		ping      = time.Second
		dead      = 4 * time.Second
		filesEach = 5
	)
	n := sessions
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if most := (int(min(limit.Cur, 1<<20)) - 200) / filesEach; most < n {
		t.Logf("%d descriptors are enough for %d sessions", limit.Cur, most)
		n = most
	}
	g := newRig(t, func(o *relay.Options) { o.Ping, o.Dead = ping, dead })
	peers := newPeers(t)
	defer peers.stop()
	before := runtime.NumGoroutine()

	all := make([]*session, n)
	for i := range all {
		s := g.session()
		all[i] = s
		peers.add(s.client, true, i%each != 1)
		peers.add(s.worker, false, i%each != 2)
	}
	// A worker is pinged at every eighth look only.
	last := all[n-1]
	enough := last.Looks() + 8 + last.LooksDuring(dead) + 2
	require.Eventually(t, func() bool { return last.Looks() >= enough || last.ends.Load() > 0 }, 3*patience, 10*time.Millisecond)
	// What ended besides would be the runtime's or the race detector's.
	goroutines := runtime.NumGoroutine()

	lost := 0
	for i, s := range all {
		switch i % each {
		case 1:
			require.Equal(t, relay.ReasonClient, s.ended().Reason)
		case 2:
			require.Equal(t, relay.ReasonLost, s.ended().Reason)
		default:
			if s.ends.Load() > 0 {
				lost++
				continue
			}
			assert.GreaterOrEqual(t, peers.pings(s.client), 3)
			assert.NotZero(t, peers.pings(s.worker))
			require.False(t, s.HasTimer())
		}
	}
	require.Zero(t, lost, "sessions whose peers answer")
	require.LessOrEqual(t, goroutines, before+n/each)
}

// peers answers the pings of many connections in one goroutine.
type peers struct {
	t    *testing.T
	poll int
	stop func()

	mu  sync.Mutex
	all map[int]*peer // by descriptor
}

type peer struct {
	conn            *net.TCPConn
	masked, answers bool
	pings           int
}

func newPeers(t *testing.T) *peers {
	t.Helper()
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	require.NoError(t, unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}))
	p := &peers{t: t, poll: poll, all: map[int]*peer{}}
	var running sync.WaitGroup
	running.Go(func() { p.run(wake) })
	p.stop = func() {
		_, _ = unix.Write(wake, binary.NativeEndian.AppendUint64(nil, 1))
		running.Wait()
		_, _ = unix.Close(poll), unix.Close(wake)
	}
	return p
}

// descriptor of a connection that nobody closes meanwhile.
func descriptor(t *testing.T, c *net.TCPConn) (number int) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { number = int(fd) }))
	return number
}

func (p *peers) add(c *net.TCPConn, masked, answers bool) {
	p.t.Helper()
	fd := descriptor(p.t, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[fd] = &peer{conn: c, masked: masked, answers: answers}
	require.NoError(p.t, unix.EpollCtl(p.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

// pings is how many a connection has got.
func (p *peers) pings(c *net.TCPConn) int {
	p.t.Helper()
	fd := descriptor(p.t, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[fd].pings
}

func (p *peers) run(wake int) {
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(p.poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			p.t.Error(err)
			return
		}
		for _, e := range events[:n] {
			if int(e.Fd) == wake {
				return
			}
			p.ready(int(e.Fd))
		}
	}
}

// ready answers what has come. A peer that is told anything but a ping leaves.
func (p *peers) ready(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.all[fd]
	size := len(ownPing(!c.masked))
	var b [4096]byte
	n, _ := unix.Read(fd, b[:])
	got, pings := b[:max(n, 0)], 0
	for len(got) >= size && got[0] == fin|ping {
		got = got[size:]
		pings++
	}
	c.pings += pings
	if pings == 0 || len(got) > 0 {
		_ = unix.EpollCtl(p.poll, unix.EPOLL_CTL_DEL, fd, nil)
		_ = unix.Shutdown(fd, unix.SHUT_WR)
		return
	}
	if c.answers {
		answer := frame(fin|pong, []byte(pingText), false)
		if c.masked {
			answer = append([]byte{fin | pong, 0x80 | byte(len(pingText)), 0, 0, 0, 0}, pingText...)
		}
		_, err := unix.Write(fd, bytes.Repeat(answer, pings))
		assert.NoError(p.t, err)
	}
}
