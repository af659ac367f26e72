package relay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// loops counts the event loops by where they wait.
func loops() (parked, blocked int) {
	stacks := make([]byte, 4<<20)
	for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if !strings.Contains(g, ").readWriteLoop(") {
			continue
		}
		switch head, _, _ := strings.Cut(g, "\n"); {
		case strings.Contains(head, "[syscall"):
			blocked++
		case strings.Contains(head, "[IO wait") && strings.Contains(g, "(*parked).Ready"):
			parked++
		}
	}
	return parked, blocked
}

// once passes one message on and ends.
func (s *session) once(t *testing.T) {
	t.Helper()
	up := frame(fin|text, []byte("up"), true)
	write(t, s.client, up)
	require.Equal(t, up, read(t, s.worker, len(up)))
	_, _ = s.client.Close(), s.worker.Close()
	s.ended()
}

// TestLoopsPark has the loops wait where the runtime knows of it, also after they
// had something to do.
func TestLoopsPark(t *testing.T) {
	g := newRig(t)
	ready := func() bool {
		parked, blocked := loops()
		return parked == pollers && blocked == 0
	}
	require.Eventually(t, ready, patience, time.Millisecond)
	for range 4 {
		g.session().once(t)
	}
	require.Eventually(t, ready, patience, time.Millisecond)
}

// TestMoreEventsThanAskedFor has more events at once than a loop asks for.
func TestMoreEventsThanAskedFor(t *testing.T) {
	t.Cleanup(relay.MaxEvents(1)) // after the engine has stopped
	g := newRig(t)
	all := make([]*session, 16)
	for i := range all {
		all[i] = g.session()
	}
	up := frame(fin|text, []byte("up"), true)
	for range 50 {
		for _, s := range all {
			write(t, s.client, up)
		}
		for _, s := range all {
			require.Equal(t, up, read(t, s.worker, len(up)))
		}
	}
}

// TestParkLeavesNothing starts and stops engines, with loops that are parked and,
// where the kernel did not tell of them, with loops that are not.
func TestParkLeavesNothing(t *testing.T) {
	const n = 20
	for name, parking := range map[string]func(*relay.Relay){
		"parked":     func(r *relay.Relay) { require.NoError(t, r.Park()) },
		"not parked": func(*relay.Relay) {},
		"not found":  func(r *relay.Relay) { require.ErrorIs(t, relay.ParkIn(r, t.TempDir()), os.ErrNotExist) },
	} {
		t.Run(name, func(t *testing.T) {
			round := func() {
				g := newRigThat(t, parking, func(o *relay.Options) { o.Ping = 0 }) // the keeper stays for a while
				g.session().once(t)
				g.stop()
			}
			round()
			goroutines, files := runtime.NumGoroutine(), descriptors(t)
			for range n {
				round()
			}
			require.Eventually(t, func() bool {
				return runtime.NumGoroutine() < goroutines+n && descriptors(t) < files+n
			}, patience, 10*time.Millisecond)
		})
	}
}

// TestWatching finds the epoll instance of a descriptor among others.
func TestWatching(t *testing.T) {
	var watched [2]int
	var instances [2]int
	for i := range watched {
		bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		require.NoError(t, err)
		defer func() { _ = unix.Close(bell) }()
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, err)
		defer func() { _ = unix.Close(epoll) }()
		require.NoError(t, unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN}))
		watched[i], instances[i] = bell, epoll
	}
	for i, fd := range watched {
		f, err := relay.Watching("/proc/self", fd)
		require.NoError(t, err)
		require.NotEqual(t, instances[i], int(f.Fd()))
		require.Contains(t, fdinfo(t, int(f.Fd())), fmt.Sprintf("tfd: %8d", fd))
		require.NoError(t, f.Close())
	}
	_, err := relay.Watching("/proc/self", instances[0])
	require.ErrorContains(t, err, "no epoll instance")
	_, err = relay.Watching(t.TempDir(), watched[0])
	require.ErrorIs(t, err, os.ErrNotExist)
}

func fdinfo(t *testing.T, fd int) string {
	t.Helper()
	info, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fmt.Sprint(fd)))
	require.NoError(t, err)
	return string(info)
}
