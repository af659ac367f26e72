package harness

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

// Farewell is the close frame that a raw client got. Ended tells that the
// connection ended behind it.
type Farewell struct {
	Code   int
	Reason string
	Ended  bool
}

// AwaitFarewell reads frames of the other side up to its close frame, and
// answers its pings.
func (r *Raw) AwaitFarewell(tb testing.TB) Farewell {
	tb.Helper()
	const opClose, opPing, opPong = 0x88, 0x89, 0x8A
	if err := r.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	for {
		first, payload, err := r.frame()
		if err != nil {
			tb.Fatalf("no close frame came: %v", err)
		}
		if first == opPing { // of 125 bytes at most
			pong := append([]byte{opPong, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
			if _, err := r.Write(pong); err != nil {
				tb.Fatalf("answering a ping: %v", err)
			}
		}
		if first != opClose {
			continue
		}
		var f Farewell
		if len(payload) >= 2 {
			f.Code, f.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		_, err = r.in.ReadByte()
		f.Ended = errors.Is(err, io.EOF)
		return f
	}
}

// frame reads one frame of a server, which has no mask.
func (r *Raw) frame() (first byte, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(r.in, head[:2]); err != nil {
		return 0, nil, err
	}
	first = head[0]
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r.in, head[6:])
		n = uint64(binary.BigEndian.Uint16(head[6:]))
	case 127:
		_, err = io.ReadFull(r.in, head[:])
		n = binary.BigEndian.Uint64(head[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r.in, payload)
	return first, payload, err
}
