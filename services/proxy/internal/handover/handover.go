// Package handover passes listening sockets from a running proxy to the one
// that replaces it on the same machine, so that no client is refused or reset
// in between. (Two sockets on one port by SO_REUSEPORT would not do: closing
// one resets the connections in its backlog.)
//
// The running process listens on a Unix socket. Whoever connects gets copies of
// its listening sockets. When the new process says that it serves, the old one
// stops accepting and lets its sessions run to their end.
package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// serving is what the new process says when it has begun to accept.
	serving = "serving\n"
	// answerTime bounds every step that the other process has no reason to delay.
	answerTime = 5 * time.Second
	maxSockets = 16
)

// Taken are sockets that others have opened: a running process, or a service
// manager.
type Taken struct {
	conn      *net.UnixConn // to the running process, if it is one
	listeners map[string]net.Listener
}

// Take asks the process behind the Unix socket for its listening sockets. It
// returns nil when there is none. Until Serving is called that process goes on
// as if nothing had happened.
func Take(ctx context.Context, path string) (*Taken, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	conn, _ := c.(*net.UnixConn)
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	t := &Taken{conn: conn, listeners: map[string]net.Listener{}}
	if err := t.receive(); err != nil {
		t.Close()
		return nil, fmt.Errorf("handover: the running process did not pass on its sockets: %w", err)
	}
	return t, nil
}

func (t *Taken) receive() error {
	text, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(maxSockets*4))
	n, oobn, _, _, err := t.conn.ReadMsgUnix(text, control)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:oobn])
	if err != nil {
		return err
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return err
		}
		fds = append(fds, got...)
	}
	var names []string
	if err := json.Unmarshal(text[:n], &names); err != nil || len(names) != len(fds) {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return fmt.Errorf("%d sockets came with the names %q", len(fds), text[:n])
	}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), names[i])
		ln, e := net.FileListener(f)
		_ = f.Close()
		if e != nil {
			err = e
			continue
		}
		t.listeners[names[i]] = ln
	}
	return err
}

// Listener returns the socket of that name, or nil. It is the caller's then.
func (t *Taken) Listener(name string) net.Listener {
	if t == nil {
		return nil
	}
	ln := t.listeners[name]
	delete(t.listeners, name)
	return ln
}

// Has tells whether there is a socket of that name, which Listener has not given away.
func (t *Taken) Has(name string) bool { return t != nil && t.listeners[name] != nil }

// Serving tells the other process that this one accepts now, and waits until
// it has stopped to.
func (t *Taken) Serving() error {
	if t == nil || t.conn == nil {
		return nil
	}
	defer t.Close()
	_ = t.conn.SetDeadline(time.Now().Add(answerTime))
	_, err := t.conn.Write([]byte(serving))
	if err == nil {
		_, err = bufio.NewReader(t.conn).ReadString('\n')
	}
	if err != nil {
		return fmt.Errorf("handover: the running process did not say that it stops: %w", err)
	}
	return nil
}

// Close gives up what was not used.
func (t *Taken) Close() {
	if t == nil {
		return
	}
	if t.conn != nil {
		_ = t.conn.Close()
	}
	for _, ln := range t.listeners {
		_ = ln.Close()
	}
}
