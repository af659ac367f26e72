package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a listening socket that can be passed on: one of TCP or Unix.
type Socket interface {
	SyscallConn() (syscall.RawConn, error)
}

// Offer is a running process' readiness to be replaced.
type Offer struct {
	sockets map[string]Socket
	taken   func()
	ln      *net.UnixListener
	path    string
	inode   uint64
	once    sync.Once
	closed  chan struct{}
	held    atomic.Int32 // processes that have the sockets and may come to serve
}

// Listen offers sockets on a Unix socket that only this user can open. It takes
// the place of the socket of the process that this one has replaced. taken is
// called once, when another process has said that it serves: accepting must
// have stopped when it returns.
func Listen(ctx context.Context, path string, sockets map[string]Socket, taken func()) (*Offer, error) {
	// Made aside, so that there is no moment without one.
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(aside)
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", aside)
	if err != nil {
		return nil, fmt.Errorf("handover: cannot listen on %s: %w (handover.socket must be in a directory that this user can write to)", filepath.Base(path), err)
	}
	unixListener, _ := ln.(*net.UnixListener)
	unixListener.SetUnlinkOnClose(false)
	o := &Offer{sockets: sockets, taken: taken, ln: unixListener, path: path, closed: make(chan struct{})}
	err = os.Chmod(aside, 0o600)
	if err == nil {
		o.inode = inode(aside)
		err = os.Rename(aside, path)
	}
	if err != nil {
		_ = ln.Close()
		_ = os.Remove(aside)
		return nil, fmt.Errorf("handover: %w", err)
	}
	go o.accept()
	return o, nil
}

func inode(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

func (o *Offer) accept() {
	for {
		c, err := o.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // out of descriptors; nobody is in a hurry here
			case <-time.After(time.Second):
			case <-o.closed:
			}
			continue
		}
		go o.serve(c)
	}
}

// serve passes the sockets on and waits for the word of the process that has
// them, which may take as long as a start does.
func (o *Offer) serve(c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	o.held.Add(1)
	if err := o.pass(c); err != nil {
		o.held.Add(-1)
		return
	}
	if word, err := bufio.NewReader(c).ReadString('\n'); err != nil || word != serving {
		o.held.Add(-1)
		return
	}
	o.once.Do(o.taken)
	_, _ = c.Write([]byte("stopping\n"))
}

// Held tells whether another process has the sockets, be it that it serves or that it
// is about to.
func (o *Offer) Held() bool { return o.held.Load() > 0 }

func (o *Offer) pass(c *net.UnixConn) error {
	var names []string
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for name, s := range o.sockets {
		raw, err := s.SyscallConn()
		if err != nil {
			return err
		}
		var fd int
		if e := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); e != nil || err != nil {
			return errors.Join(e, err)
		}
		names, fds = append(names, name), append(fds, fd)
	}
	text, err := json.Marshal(names)
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(answerTime))
	_, _, err = c.WriteMsgUnix(text, unix.UnixRights(fds...), nil)
	_ = c.SetWriteDeadline(time.Time{})
	return err
}

// Close withdraws the offer, once. It leaves the path alone when another process has the
// sockets: that one puts its own offer there, perhaps in this moment. Who finds a path
// that nobody listens at takes it for none.
func (o *Offer) Close() {
	close(o.closed)
	_ = o.ln.Close()
	if !o.Held() && inode(o.path) == o.inode {
		_ = os.Remove(o.path)
	}
}
