// Package ws is as much of WebSocket as a load test needs: handshakes and
// frames over a plain connection, with no allocation for each message. What it
// measures shares the machine with it, so it has to be cheap before anything
// else.
package ws

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Opcodes of frames.
const (
	Text   = 0x1
	Binary = 0x2
	Close  = 0x8
	Ping   = 0x9
	Pong   = 0xA
)

const final = 0x80

// Header is the head of a frame.
type Header struct {
	Op     byte
	Masked bool
	Key    [4]byte
	Size   int
}

// Conn is one side of a WebSocket connection.
type Conn struct {
	net.Conn

	in   *bufio.Reader
	head [14]byte
	raw  syscall.RawConn // once a payload was forgotten
}

// errBig reports a frame that does not fit in an int.
var errBig = errors.New("a frame's length is out of range")

// Next reads the head of the next frame; its payload is the caller's to take
// with [Conn.Take] or [Conn.Skip] before it calls Next again.
func (c *Conn) Next() (Header, error) {
	b := c.head[:2]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return Header{}, err
	}
	h := Header{Op: b[0] & 0x0F, Masked: b[1]&0x80 != 0, Size: int(b[1] & 0x7F)}
	var more int
	switch h.Size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if more > 0 {
		if _, err := io.ReadFull(c.in, c.head[2:2+more]); err != nil {
			return h, err
		}
		if more == 2 {
			h.Size = int(binary.BigEndian.Uint16(c.head[2:]))
		} else if n := binary.BigEndian.Uint64(c.head[2:]); n < 1<<62 {
			h.Size = int(n)
		} else {
			return h, errBig
		}
	}
	if h.Masked {
		if _, err := io.ReadFull(c.in, c.head[:4]); err != nil {
			return h, err
		}
		copy(h.Key[:], c.head[:4])
	}
	return h, nil
}

// Take reads a payload into b, which has its length, and unmasks it.
func (c *Conn) Take(h Header, b []byte) error {
	if _, err := io.ReadFull(c.in, b); err != nil {
		return err
	}
	if h.Masked {
		Mask(b, h.Key)
	}
	return nil
}

// Skip receives a payload and forgets it. Scratch is where it comes to on sockets
// other than TCP's, which forget without a copy, and bounds what one system call takes.
func (c *Conn) Skip(size int, scratch []byte) error {
	if n := min(size, c.in.Buffered()); n > 0 {
		if _, err := c.in.Discard(n); err != nil {
			return err
		}
		size -= n
	}
	for size > 0 {
		n, err := c.forget(scratch[:min(size, len(scratch))])
		size -= n
		if err != nil && size > 0 {
			return err
		}
	}
	return nil
}

// forget is a read whose bytes nobody wants (MSG_TRUNC in tcp(7)).
func (c *Conn) forget(b []byte) (n int, err error) {
	if c.raw == nil {
		s, ok := c.Conn.(syscall.Conn)
		if !ok {
			return c.Conn.Read(b)
		}
		if c.raw, err = s.SyscallConn(); err != nil {
			return 0, err
		}
	}
	waited := c.raw.Read(func(fd uintptr) bool {
		for {
			if n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_TRUNC); !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	switch {
	case waited != nil:
		return 0, waited
	case err == nil && n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

// Mask masks or unmasks a payload that begins at the key's first byte.
func Mask(b []byte, key [4]byte) {
	if key == [4]byte{} {
		return
	}
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// AppendHead appends the head of an unmasked frame, as a server sends it.
func AppendHead(to []byte, op byte, size int) []byte {
	switch {
	case size < 126:
		return append(to, final|op, byte(size))
	case size <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(to, final|op, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(to, final|op, 127), uint64(size))
}

// AppendMasked appends a whole frame as a client sends it.
func AppendMasked(to []byte, op byte, payload []byte) []byte {
	key := [4]byte{0x51, 0xA7, 0x3C, 0xE2}
	at := len(to) + 1
	to = AppendHead(to, op, len(payload))
	to[at] |= 0x80
	to = append(to, key[:]...)
	at = len(to)
	to = append(to, payload...)
	Mask(to[at:], key)
	return to
}
