package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// Park has the engine's loops wait in the runtime's poller instead of in a
// system call. It is for an engine that has started and has no connections yet.
// After an error some loops, or all, wait as nbio has them wait; they serve as well.
//
// A loop that waits in a system call keeps a processor of the runtime until its
// monitor thread takes that away: threads are woken for it each time the loop has
// had anything to do, and others when it wants a processor back. nbio has no other
// way to wait, so each loop is given a connection whose event keeps the loop's
// goroutine, and does what nbio does with events, until the engine stops.
func (r *Relay) Park() error { return r.parkIn("/proc/self") }

func (r *Relay) parkIn(proc string) error {
	for number := range r.engine.NPoller {
		if err := r.park(number, proc); err != nil {
			return fmt.Errorf("loop %d: %w", number, err)
		}
	}
	return nil
}

// connections are those that loops watch, by descriptor.
type connections []atomic.Pointer[nbio.Conn]

func (t connections) enter(c *nbio.Conn) {
	if fd := c.Hash(); fd < len(t) { // nbio refuses others
		t[fd].Store(c)
	}
}

func (t connections) leave(c net.Conn, _ error) {
	if c, ok := c.(*nbio.Conn); ok && c.Hash() < len(t) {
		t[c.Hash()].CompareAndSwap(c, nil)
	}
}

// parked is a loop that waits in the runtime's poller, and the connection that
// nbio watches for it.
type parked struct {
	Watched // of which nothing is used

	conns connections
	bell  int // an eventfd
	epoll *os.File
	begun chan struct{}
	over  atomic.Bool
	// users of the bell are the loop and whoever rings; the last one closes it.
	users atomic.Int32
}

func (r *Relay) park(number int, proc string) error {
	p := &parked{Watched: &leg{}, conns: r.conns, begun: make(chan struct{})}
	p.users.Store(2)
	c, err := r.bell(number)
	if err != nil {
		return err
	}
	p.bell = c.Hash()
	c.SetSession(p)
	if _, err := r.engine.Engine.AddConn(c); err != nil {
		p.leave()
		return err
	}
	if p.epoll, err = watching(proc, p.bell); err != nil {
		p.leave()
		_ = c.Close()
		return err
	}
	r.handover.Add(1)
	ring(p.bell)
	<-p.begun
	return nil
}

// bell is an eventfd for the loop of that number, which nbio chooses by the number
// of the descriptor.
func (r *Relay) bell(number int) (*nbio.Conn, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	defer closeFD(fd)
	for {
		c, err := nbio.NBConn(nameless{hidden{descriptor{fd: fd}}})
		if err != nil || c.Hash()%r.engine.NPoller == number {
			return c, err
		}
		defer closeFD(c.Hash()) // once another number is found
	}
}

func (p *parked) leave() {
	if p.users.Add(-1) == 0 {
		closeFD(p.bell)
	}
}

func ring(bell int) { _, _ = unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// watching is the epoll instance that watches a descriptor. nbio does not tell,
// the kernel does (proc(5), fdinfo).
func watching(proc string, fd int) (*os.File, error) {
	all, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil, err
	}
	for _, entry := range all {
		if to, _ := os.Readlink(filepath.Join(proc, "fd", entry.Name())); to != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", entry.Name()))
		if err != nil || !watches(info, fd) {
			continue
		}
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, err
		}
		return pollable(number)
	}
	return nil, errors.New("relay: no epoll instance watches it")
}

// watches reads what the kernel tells of an epoll instance.
func watches(info []byte, fd int) bool {
	for lines := bufio.NewScanner(bytes.NewReader(info)); lines.Scan(); {
		if f := bytes.Fields(lines.Bytes()); len(f) > 1 && string(f[0]) == "tfd:" && string(f[1]) == strconv.Itoa(fd) {
			return true
		}
	}
	return false
}

// pollable is a descriptor as a file that the runtime's poller watches.
func pollable(fd int) (*os.File, error) {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(again, true); err != nil {
		closeFD(again)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(again), "epoll"), nil
}

// CloseAndClean is part of Watched: the engine stops.
func (p *parked) CloseAndClean(error) {
	p.over.Store(true)
	ring(p.bell)
	p.leave()
}

// Ready is the loop. Afterwards nbio's goes on, which sees that the engine stops.
func (p *parked) Ready() {
	close(p.begun)
	defer func() {
		_ = p.epoll.Close()
		p.leave()
	}()
	raw, err := p.epoll.SyscallConn()
	if err != nil {
		return
	}
	events := make([]syscall.EpollEvent, maxEvents)
	// Between two calls of this function the poller waits. What comes during one leads to another.
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n := ready(fd, events)
			for i := range max(n, 0) {
				p.handle(&events[i])
			}
			if over := n < 0 || p.over.Load(); over || n < len(events) {
				return over
			}
		}
	})
}

// maxEvents is how many events are asked for at once.
var maxEvents = 1024

// ready asks for events without waiting: it is over too soon for the runtime to be
// told of the call. It returns -1 for an epoll instance that is none.
func ready(epoll uintptr, events []syscall.EpollEvent) int {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epoll,
			uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0) //nolint:gosec // a buffer for the kernel
		switch errno {
		case 0:
			return int(n)
		case syscall.EINTR:
		default:
			return -1
		}
	}
}

func (p *parked) handle(e *syscall.EpollEvent) {
	c := p.conns[e.Fd].Load()
	if c == nil {
		return
	}
	over := e.Events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0
	if e.Events&(unix.EPOLLIN|unix.EPOLLPRI) != 0 {
		if w, ok := c.Session().(Watched); ok && w != Watched(p) {
			if l, ok := w.(*leg); ok && over {
				l.leaving.Store(true)
			}
			w.Ready()
		}
	}
	if over {
		_ = c.CloseWithError(io.EOF)
	}
}
