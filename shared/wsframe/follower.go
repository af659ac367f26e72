// Package wsframe follows WebSocket frame headers (RFC 6455) in a byte stream
// that somebody else moves, and writes the few control frames that a relay
// adds to such a stream.
//
// A relay that passes bytes through untouched still has to know where one
// frame ends and the next begins, because only there may it add a ping or a
// close of its own. A Follower reads headers and skips payloads: it copies
// nothing, keeps nothing and allocates nothing.
package wsframe

import (
	"encoding/binary"
	"errors"
)

// Errors of [Follower.Feed]: the peer broke the protocol, or the bytes fed are
// not what the peer sent. The stream cannot be followed further.
var (
	ErrReserved = errors.New("websocket frame: reserved bit or opcode in use")
	ErrControl  = errors.New("websocket frame: control frame fragmented or longer than 125 bytes")
	ErrLength   = errors.New("websocket frame: length not in its shortest form, or above 2^63-1")
	ErrSequence = errors.New("websocket frame: message begun inside a message, or continued without one")
)

// failures gives Follower.failed its meaning: an index takes one byte of the
// struct where an error would take sixteen.
var failures = [...]error{nil, ErrReserved, ErrControl, ErrLength, ErrSequence}

const (
	failedReserved = iota + 1
	failedControl
	failedLength
	failedSequence
)

const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	bitFin     = 0x80
	bitRsv1    = 0x40 // permessage-deflate marks compressed messages with it
	bitsRsv23  = 0x30
	bitMask    = 0x80
	maxControl = 125
	length16   = 126
	length64   = 127
)

// Where in a frame the next byte is.
const (
	atStart    = iota // between two frames
	atLength          // mask bit and short length
	atLength16        // the rest of a 16-bit length
	atLength64        // the rest of a 64-bit length
	atMask            // masking key
	atPayload
)

const (
	isFinal   = 1 << iota // this frame ends its message
	isControl             // this frame is a ping, a pong or a close
	isMasked              // this frame has a masking key
	inMessage             // a data message has begun and not ended
	sawClose              // a close frame has begun, now or earlier
)

// Follower follows one direction of one connection, from the first byte after
// the handshake. The zero value is ready. Both directions of a session cost
// under 100 bytes.
//
// A Follower has no locks. One goroutine feeds it; whether others may read it
// meanwhile is for that goroutine's owner to arrange.
type Follower struct {
	remain   uint64 // payload bytes to come; while a length is read, the part read
	bytes    uint64
	frames   uint64
	messages uint64

	stage  uint8
	left   uint8 // bytes to come of a length or a key
	flags  uint8
	failed uint8
}

// Feed follows the stream over the bytes p, however the stream is cut into
// calls. It keeps nothing of p. An error says that a header in p breaks the
// protocol; every later call returns it again and counts nothing.
func (f *Follower) Feed(p []byte) error {
	for len(p) > 0 && f.failed == 0 {
		n := 0
		switch f.stage {
		case atPayload:
			n = f.payload(p)
		case atStart:
			n = f.wholeHeader(p)
		}
		if n == 0 {
			f.header(p[0])
			n = 1
		}
		p = p[n:]
		f.bytes += uint64(n)
	}
	return failures[f.failed]
}

// AtBoundary reports whether the stream stands between two frames, so that a
// control frame may be put in. It says nothing about messages: between two
// fragments of one message control frames are allowed.
func (f *Follower) AtBoundary() bool { return f.stage == atStart && f.failed == 0 }

// AtMessageBoundary reports whether the stream stands between two messages, so
// that a message may be put in.
func (f *Follower) AtMessageBoundary() bool { return f.AtBoundary() && f.flags&inMessage == 0 }

// Messages is the number of data messages that have ended; fragments of one
// message count once, control frames not at all.
func (f *Follower) Messages() uint64 { return f.messages }

// Frames is the number of frames that have ended, control frames included.
func (f *Follower) Frames() uint64 { return f.frames }

// Bytes is the number of bytes followed, headers included, up to and with the
// byte that broke the protocol if one did.
func (f *Follower) Bytes() uint64 { return f.bytes }

// Ahead is how many bytes of the payload of a data frame come next. They say
// nothing to a Follower: [Follower.Skip] takes them unseen.
func (f *Follower) Ahead() uint64 {
	if f.stage != atPayload || f.flags&isControl != 0 || f.failed != 0 {
		return 0
	}
	return f.remain
}

// Skip follows the stream over n bytes that are not shown to it. It must be no
// more than what is ahead.
func (f *Follower) Skip(n uint64) {
	f.bytes += n
	if f.remain -= n; f.remain == 0 {
		f.end()
	}
}

// ToBoundary is how many bytes come before the next boundary, as far as is
// known: within a header the frame may turn out to be longer, never shorter. It
// is 0 at a boundary, and where the stream cannot be followed.
func (f *Follower) ToBoundary() uint64 {
	switch {
	case f.stage == atStart || f.failed != 0:
		return 0
	case f.stage == atLength:
		return 1
	case f.stage == atPayload:
		return f.remain
	case f.stage == atMask:
		return uint64(f.left) + f.remain
	default: // of a length
		return uint64(f.left)
	}
}

// CloseSeen reports whether a close frame has begun. RFC 6455 allows its
// sender nothing after it.
func (f *Follower) CloseSeen() bool { return f.flags&sawClose != 0 }

// wholeHeader takes the header of a data frame that p holds whole and returns
// its length. That is nearly every frame, and ten times as fast as byte by
// byte. Anything else, wrong ones included, it leaves to header and returns 0.
func (f *Follower) wholeHeader(p []byte) int {
	if len(p) < 2 {
		return 0
	}
	op := p[0] & 0x0f
	if p[0]&bitsRsv23 != 0 || op > opBinary || (op == opContinuation) != (f.flags&inMessage != 0) {
		return 0
	}
	n, size := 2, uint64(p[1]&^bitMask)
	switch {
	case size == length16 && len(p) >= 4:
		n, size = 4, uint64(binary.BigEndian.Uint16(p[2:]))
		if size < length16 {
			return 0
		}
	case size == length64 && len(p) >= 10:
		n, size = 10, binary.BigEndian.Uint64(p[2:])
		if size <= 0xffff || size>>63 != 0 {
			return 0
		}
	case size >= length16:
		return 0
	}
	if p[1]&bitMask != 0 {
		n += 4 // the key, which is of no use here
	}
	if len(p) < n {
		return 0
	}
	f.flags = f.flags&sawClose | inMessage
	if p[0]&bitFin != 0 {
		f.flags |= isFinal
	}
	f.remain, f.stage = size, atPayload
	if size == 0 {
		f.end()
	}
	return n
}

// header takes one byte of a frame's header.
func (f *Follower) header(b byte) {
	switch f.stage {
	case atStart:
		f.begin(b)
	case atLength:
		f.length(b)
	case atLength16, atLength64:
		f.remain = f.remain<<8 | uint64(b)
		if f.left--; f.left == 0 {
			f.longLength()
		}
	case atMask:
		if f.left--; f.left == 0 {
			f.enterPayload()
		}
	}
}

// begin takes the byte with FIN, RSV and opcode.
func (f *Follower) begin(b byte) {
	op := b & 0x0f
	f.flags &= inMessage | sawClose
	if b&bitFin != 0 {
		f.flags |= isFinal
	}
	switch {
	case b&bitsRsv23 != 0, op > opPong, op > opBinary && op < opClose:
		f.failed = failedReserved
	case op >= opClose && b&bitFin == 0:
		f.failed = failedControl
	case op >= opClose && b&bitRsv1 != 0:
		f.failed = failedReserved
	case op >= opClose:
		f.flags |= isControl
		if op == opClose {
			f.flags |= sawClose
		}
	case (op == opContinuation) != (f.flags&inMessage != 0):
		f.failed = failedSequence
	default:
		f.flags |= inMessage
	}
	f.stage = atLength
}

// length takes the byte with the mask bit and the short length.
func (f *Follower) length(b byte) {
	if b&bitMask != 0 {
		f.flags |= isMasked
	}
	n := b &^ bitMask
	if f.flags&isControl != 0 && n > maxControl {
		f.failed = failedControl
		return
	}
	switch n {
	case length16:
		f.remain, f.left, f.stage = 0, 2, atLength16
	case length64:
		f.remain, f.left, f.stage = 0, 8, atLength64
	default:
		f.remain = uint64(n)
		f.enterMask()
	}
}

// longLength judges a length that was written in 16 or 64 bits.
func (f *Follower) longLength() {
	switch {
	case f.stage == atLength16 && f.remain < length16,
		f.stage == atLength64 && (f.remain <= 0xffff || f.remain>>63 != 0):
		f.failed = failedLength
	default:
		f.enterMask()
	}
}

func (f *Follower) enterMask() {
	if f.flags&isMasked != 0 {
		f.left, f.stage = 4, atMask
		return
	}
	f.enterPayload()
}

func (f *Follower) enterPayload() {
	f.stage = atPayload
	if f.remain == 0 {
		f.end()
	}
}

// payload skips what p holds of the current frame's payload and returns how
// much that was.
func (f *Follower) payload(p []byte) int {
	n := len(p)
	if uint64(n) > f.remain {
		n = int(f.remain) //nolint:gosec // less than len(p)
	}
	if f.remain -= uint64(n); f.remain == 0 {
		f.end()
	}
	return n
}

// end closes the current frame.
func (f *Follower) end() {
	f.stage = atStart
	f.frames++
	if f.flags&isControl == 0 && f.flags&isFinal != 0 {
		f.flags &^= inMessage
		f.messages++
	}
}
