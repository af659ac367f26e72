package faults

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one connection over a link.
type conn struct {
	link    *Link
	client  *net.TCPConn
	context context.Context // ends with the connection
	end     context.CancelFunc

	// Under the link's mutex.
	target *net.TCPConn // nil until it is connected
	lost   [2]bool      // a byte or the end of this direction's stream was swallowed
	silent bool         // taken to be given no target
	over   bool
}

// serve takes connections until its listener closes.
func (l *Link) serve(listener net.Listener) {
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		c := &conn{link: l, client: raw.(*net.TCPConn)}
		c.context, c.end = context.WithCancel(context.Background())
		l.mu.Lock()
		target, answer := l.target, l.answer
		late := l.closed || l.listener != listener
		if !late {
			c.silent = answer == Silent
			l.conns[c] = struct{}{}
		}
		l.mu.Unlock()
		switch {
		case late:
			abort(c.client)
			c.end()
		case answer == Accept:
			l.all.Go(func() { c.run(target) })
		}
	}
}

// reset ends the connection on both sides. The link's mutex is held.
func (c *conn) reset() {
	if c.over {
		return
	}
	c.over = true
	c.end()
	abort(c.client)
	if c.target != nil {
		abort(c.target)
	}
	delete(c.link.conns, c)
}

// aborting makes connections that a close resets. One that is reset while it is being
// made is closed by the dialer, and its target, which may have accepted it, would see
// a proper end.
var aborting = net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	return errors.Join(err, failed)
}}

func abort(c *net.TCPConn) {
	_ = c.SetLinger(0) // a reset and no proper end
	_ = c.Close()
}

// run connects to the target and carries bytes until both directions are over.
func (c *conn) run(address string) {
	raw, err := aborting.DialContext(c.context, "tcp4", address)
	l := c.link
	l.mu.Lock()
	if err == nil {
		c.target = raw.(*net.TCPConn)
		if c.over {
			abort(c.target)
		} else {
			_ = c.target.SetLinger(-1)
		}
	} else {
		c.reset()
	}
	over := c.over
	l.mu.Unlock()
	if over {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.carry(toTarget, c.client, c.target) })
	both.Go(func() { c.carry(toClient, c.target, c.client) })
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.over {
		return
	}
	// Both streams have ended in good order, so closing sends no reset.
	c.over = true
	c.end()
	_ = c.client.Close()
	_ = c.target.Close()
	delete(l.conns, c)
}

// piece is what was read at once: bytes, or how the stream ended.
type piece struct {
	bytes []byte
	read  time.Time
	err   error
}

// pieces bounds what is under way on a delayed stream, with chunk.
const (
	chunk  = 32 << 10
	pieces = 128
)

// carry moves one direction's stream to its receiver, which sees its end as
// the sender made it.
func (c *conn) carry(d direction, from, to *net.TCPConn) {
	way := make(chan piece, pieces)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() { c.read(from, way) })
	for {
		fault, changed := c.link.now(d)
		if fault.fate == shut && c.lose(d, shut) {
			_ = to.CloseWrite() // once more does no harm
		}
		select {
		case p := <-way:
			// The end of a stream that a reset has closed must not look like a proper one to the other side.
			if c.context.Err() != nil || !c.deliver(d, p, to) {
				return
			}
		case <-changed:
		case <-c.context.Done():
			return
		}
	}
}

func (c *conn) read(from *net.TCPConn, way chan<- piece) {
	b := make([]byte, chunk)
	for {
		n, err := from.Read(b)
		for _, p := range []piece{{bytes: bytes.Clone(b[:n])}, {err: err}} {
			if len(p.bytes) == 0 && p.err == nil {
				continue
			}
			p.read = time.Now()
			select {
			case way <- p:
			case <-c.context.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver does with a piece what the fault of its direction asks for, and
// tells whether the stream goes on.
func (c *conn) deliver(d direction, p piece, to *net.TCPConn) bool {
	for {
		fault, changed := c.link.now(d)
		now := p
		wait := fault.latency - time.Since(p.read)
		switch {
		case fault.fate == swallow || fault.fate == shut:
			if c.lose(d, fault.fate) {
				return true
			}
			continue
		case fault.fate == hold:
			wait = forever
		case fault.rate > 0 && p.err == nil:
			now.bytes = p.bytes[:min(len(p.bytes), max(1, fault.rate/slices))]
			wait = max(wait, time.Duration(len(now.bytes))*time.Second/time.Duration(fault.rate))
		}
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-changed:
				timer.Stop()
				continue
			case <-c.context.Done():
				timer.Stop()
				return false
			}
		}
		if !c.pass(now, to) {
			return false
		}
		if p.bytes = p.bytes[len(now.bytes):]; len(p.bytes) == 0 {
			return true
		}
	}
}

const (
	forever = 1 << 62
	slices  = 50 // parts of a second in which a throttled stream moves
)

// pass delivers a piece.
func (c *conn) pass(p piece, to *net.TCPConn) bool {
	err := p.err
	if err == nil {
		if _, err = to.Write(p.bytes); err == nil {
			return true
		}
	}
	if errors.Is(err, io.EOF) && to.CloseWrite() == nil {
		return false
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.reset()
	return false
}

// lose notes that this stream cannot go on, if its fault still is the one that
// loses bytes.
func (c *conn) lose(d direction, by fate) bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.link.faults[d].fate != by {
		return false
	}
	c.lost[d] = true
	return true
}
