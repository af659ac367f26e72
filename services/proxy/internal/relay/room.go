package relay

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

const (
	// roomPause is how often directions are looked at that have no descriptor to
	// wait for room with.
	roomPause = 50 * time.Millisecond
	// roomBatch is how many of them the kernel is asked about at once.
	roomBatch = 256
)

// room calls back when the connection can take something again, or never will.
// Closing what it returns ends the wait.
//
// nbio tells of room only to its own queue of unsent bytes, which is lost when
// the peer resets. The runtime's poller costs a goroutine and a descriptor, for
// as long as a reader is slow.
func (l *leg) room(then func()) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	go func() {
		_ = raw.Write(func(p uintptr) bool { return nowait.Poll(int(p), unix.POLLOUT) })
		_ = f.Close()
		then()
	}()
	return f, nil
}

// roomSet has directions wait for room: a few with a descriptor of their own,
// which tells at once, and the others together, by one ticker. Were there no such
// bound, readers that stall in crowds would take the descriptors of new clients.
type roomSet struct {
	most int // that have a descriptor
	own  atomic.Int32

	mu      sync.Mutex
	waiting map[*dir]struct{}
	looking bool
}

// wait has d.roomy called when there is room at its destination, or never will be.
func (w *roomSet) wait(d *dir) {
	if int(w.own.Add(1)) <= w.most {
		f, err := d.dst.room(func() {
			w.own.Add(-1)
			d.roomy()
		})
		if err == nil {
			d.room = f
			return
		}
	}
	w.own.Add(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[*dir]struct{}{}
	}
	w.waiting[d] = struct{}{}
	if !w.looking {
		w.looking = true
		go w.watch()
	}
}

// forget is for a direction that has stopped, before its connections are closed.
func (w *roomSet) forget(d *dir) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, d)
}

func (w *roomSet) watch() {
	t := time.NewTicker(roomPause)
	defer t.Stop()
	for range t.C {
		roomy, empty := w.look()
		for _, d := range roomy {
			go d.roomy() // pumps
		}
		if empty {
			return
		}
	}
}

// look takes out the directions that need not wait any more. The lock keeps the
// descriptors open that are looked at.
func (w *roomSet) look() (roomy []*dir, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*dir, 0, len(w.waiting))
	for d := range w.waiting {
		all = append(all, d)
	}
	var fds [roomBatch]unix.PollFd
	for some := range slices.Chunk(all, roomBatch) {
		for i, d := range some {
			fds[i] = unix.PollFd{Fd: int32(d.dst.fd), Events: unix.POLLOUT} //nolint:gosec // descriptors fit
		}
		if n, err := unix.Poll(fds[:len(some)], 0); err != nil || n == 0 {
			continue
		}
		for i, d := range some {
			if fds[i].Revents != 0 {
				delete(w.waiting, d)
				roomy = append(roomy, d)
			}
		}
	}
	w.looking = len(w.waiting) > 0
	return roomy, !w.looking
}
