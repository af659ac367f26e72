package wsframe_test

import (
	"encoding/binary"
	"errors"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// outcome is what a follower says after a stream.
type outcome struct {
	bytes, frames, messages uint64
	boundary, closeSeen     bool
	err                     error
}

func observe(f *wsframe.Follower, err error) outcome {
	return outcome{
		bytes: f.Bytes(), frames: f.Frames(), messages: f.Messages(),
		boundary: f.AtBoundary(), closeSeen: f.CloseSeen(), err: err,
	}
}

// model is the straightforward reading of a whole stream in memory: it slices
// out one frame after the other.
func model(stream []byte) outcome {
	o := outcome{boundary: true}
	open := false
	fail := func(at int, err error) outcome {
		o.bytes, o.boundary, o.err = uint64(at), false, err
		return o
	}
	for at := 0; at < len(stream); {
		rest := stream[at:]
		fin, rsv1, rsv23, op := rest[0]&0x80 != 0, rest[0]&0x40 != 0, rest[0]&0x30 != 0, rest[0]&0x0f
		control := op >= 8
		known := op == 0 || op == 1 || op == 2 || op == 8 || op == 9 || op == 10
		switch {
		case rsv23 || !known:
			return fail(at+1, wsframe.ErrReserved)
		case control && !fin:
			return fail(at+1, wsframe.ErrControl)
		case control && rsv1:
			return fail(at+1, wsframe.ErrReserved)
		case !control && op == 0 && !open, !control && op != 0 && open:
			return fail(at+1, wsframe.ErrSequence)
		}
		o.closeSeen = o.closeSeen || op == 8

		frame, err := slice(rest, control)
		if err != nil && !errors.Is(err, errShort) {
			return fail(at+frame, err)
		}
		if err != nil {
			o.bytes, o.boundary = uint64(len(stream)), false
			return o
		}
		at += frame
		o.bytes = uint64(at)
		o.frames++
		if !control {
			open = !fin
			if fin {
				o.messages++
			}
		}
	}
	return o
}

var errShort = errors.New("stream ends inside the frame")

// slice returns the length of the frame at the start of b. With a protocol
// error that is the length of what showed it.
func slice(b []byte, control bool) (int, error) {
	if len(b) < 2 {
		return 0, errShort
	}
	masked, n, at := b[1]&0x80 != 0, uint64(b[1]&0x7f), 2
	if control && n > 125 {
		return 2, wsframe.ErrControl
	}
	switch n {
	case 126:
		if len(b) < 4 {
			return 0, errShort
		}
		n, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if n < 126 {
			return at, wsframe.ErrLength
		}
	case 127:
		if len(b) < 10 {
			return 0, errShort
		}
		n, at = binary.BigEndian.Uint64(b[2:]), 10
		if n < 1<<16 || n >= 1<<63 {
			return at, wsframe.ErrLength
		}
	}
	if masked {
		at += 4
	}
	if len(b) < at || uint64(len(b)-at) < n {
		return 0, errShort
	}
	return at + int(n), nil
}
