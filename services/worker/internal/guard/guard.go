// Package guard reads what a client says to the Playwright server of a shared
// browser, and lets through what concerns the client's own session only. It
// stands on the list of methods in protocol.txt: what is not allowed there
// never reaches the server.
package guard

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Options of the guards of a worker.
type Options struct {
	CDP         string // CDPRefuse or CDPFilter
	ClientProxy bool   // whether contexts may have a proxy of the client's choice
}

// Rules are what all guards of a worker share.
type Rules struct {
	kinds map[string]kind
}

// New reads the reviewed protocol.
func New(o Options) *Rules { return &Rules{kinds: table(o)} }

// ErrPolicy is in every error of Feed that says the connection must end.
var ErrPolicy = errors.New("refused by the guard")

func breach(why string) error { return fmt.Errorf("%w: %s", ErrPolicy, why) }

// Out takes what a guard lets through and what it answers.
type Out interface {
	// Forward sends bytes to the server.
	Forward(b []byte) error
	// Answer sends one frame to the client, between two messages of the server.
	Answer(frame []byte) error
	// Refused is told of each call that is refused: Type.method, or "unknown".
	Refused(method string)
}

// Guard follows one client. One goroutine uses it.
type Guard struct {
	rules *Rules
	out   Out
	scan  scanner
	msg   message
	place place

	// The current frame.
	header [14]byte
	have   int // bytes of header
	remain uint64
	keyAt  int
	frame  struct {
		payload, control, final bool
	}

	inMessage bool
	streaming bool // the message's first bytes have gone on before it ended
	unit      bool // a message or a control frame outside of one has begun

	hold    []byte // what came of the unit and was not sent yet
	control []byte // control frames inside a message that is held
}

const (
	// maxHold is what is kept of a message that is not decided yet. One that
	// is longer goes on without its end, which is all the server waits for.
	maxHold    = 256 << 10
	maxControl = 16 << 10
)

// Guard makes one for a connection.
func (r *Rules) Guard(out Out) *Guard {
	g := &Guard{rules: r, out: out, msg: message{kinds: r.kinds}}
	g.msg.hide = g.hide
	return g
}

type scratch [64 << 10]byte

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Feed reads what the client sent and forwards what may go on. Its error is
// the server's side's or the client's, or one with ErrPolicy.
func (g *Guard) Feed(b []byte) error {
	plain, _ := scratches.Get().(*scratch)
	defer func() {
		g.place.fed, g.place.plain = nil, nil // an idle session keeps no buffer
		scratches.Put(plain)
	}()
	sent, start := 0, 0 // b[:sent] is dealt with; the unit begins at start
	g.place.feed(g.streaming)
	for i := 0; i < len(b); {
		if !g.frame.payload {
			if !g.unit {
				g.unit, start = true, i
			}
			n, err := g.readHeader(b[i:])
			if err != nil {
				return err
			}
			if i += n; !g.frame.payload {
				break
			}
		}
		n := len(b) - i
		if uint64(n) > g.remain {
			n = int(g.remain) //nolint:gosec // less than len(b)
		}
		g.place.payload(b, i, max(start, sent), len(g.hold))
		if err := g.payload(b[i:i+n], plain[:]); err != nil {
			return err
		}
		i += n
		if g.remain > 0 {
			continue
		}
		g.frame.payload, g.have = false, 0
		if g.frame.control {
			if g.inMessage {
				continue
			}
			g.unit = false
			if err := g.release(); err != nil {
				return err
			}
			continue
		}
		if !g.frame.final {
			continue
		}
		dropped, err := g.endMessage(b[sent:start])
		if err != nil {
			return err
		}
		if dropped {
			sent = i
		}
		g.unit, start = false, i
	}
	return g.endFeed(b, sent, start)
}

// endFeed sends and keeps what is left of b.
func (g *Guard) endFeed(b []byte, sent, start int) error {
	switch {
	case !g.unit || g.streaming:
		return g.forward(b[sent:])
	case g.inMessage && g.msg.refused != "":
		return g.forward(b[sent:max(start, sent)])
	}
	if err := g.forward(b[sent:max(start, sent)]); err != nil {
		return err
	}
	g.hold = append(g.hold, b[max(start, sent):]...)
	if !g.inMessage || !g.msg.free() && len(g.hold) <= maxHold {
		return nil
	}
	if !g.msg.decided {
		return breach("the message does not say early what it calls")
	}
	g.streaming = true
	return g.release()
}

func (g *Guard) forward(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return g.out.Forward(b)
}

func (g *Guard) release() error {
	g.control = g.control[:0]
	if len(g.hold) == 0 {
		return nil
	}
	err := g.out.Forward(g.hold)
	if cap(g.hold) > 4<<10 {
		g.hold = nil // an idle session keeps little
	}
	g.hold = g.hold[:0]
	return err
}

// readHeader takes what b has of a frame's header, and returns how much that
// was. The frame's payload has begun when g.frame.payload is set.
func (g *Guard) readHeader(b []byte) (int, error) {
	n := 0
	for {
		need := 2
		if g.have >= 2 {
			need = headerSize(g.header[1])
		}
		if g.have >= 2 && g.have == need {
			break
		}
		if n == len(b) {
			return n, nil
		}
		take := copy(g.header[g.have:need], b[n:])
		g.have += take
		n += take
	}
	return n, g.beginFrame()
}

func headerSize(second byte) int {
	switch second & 0x7f {
	case 126:
		return 8
	case 127:
		return 14
	}
	return 6
}

func (g *Guard) beginFrame() error {
	h := g.header[:g.have]
	op := h[0] & 0x0f
	g.frame.final, g.frame.control = h[0]&0x80 != 0, op >= 8
	g.remain = uint64(h[1] & 0x7f)
	switch g.remain {
	case 126:
		g.remain = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		g.remain = binary.BigEndian.Uint64(h[2:])
	}
	g.keyAt = 0
	switch {
	case h[1]&0x80 == 0:
		return breach("a frame is not masked")
	case h[0]&0x70 != 0:
		return breach("a frame is compressed, which was not agreed")
	case g.remain > 1<<40:
		return breach("a frame is too long")
	case op > 10 || op > 2 && op < 8:
		return breach("a frame is of an unknown kind")
	case g.frame.control && (g.remain > 125 || !g.frame.final):
		return breach("a control frame is fragmented or too long")
	case op == 2:
		return breach("the message is not text")
	case !g.frame.control && (op == 0) != g.inMessage:
		return breach("fragments of messages are mixed")
	}
	g.frame.payload = true
	if op == 1 {
		g.inMessage, g.streaming = true, false
		g.scan.reset()
		g.msg.reset()
	}
	if !g.frame.control {
		g.msg.length += g.remain
		g.msg.weigh()
	}
	if g.frame.control && g.inMessage && !g.streaming {
		if len(g.control) > maxControl {
			return breach("too many control frames inside a message")
		}
		g.control = append(g.control, h...)
	}
	return nil
}

// payload reads a part of a frame's payload.
func (g *Guard) payload(b, plain []byte) error {
	g.remain -= uint64(len(b))
	if g.frame.control {
		if g.inMessage && !g.streaming {
			g.control = append(g.control, b...)
		}
		return nil
	}
	key := g.header[g.have-4 : g.have]
	for len(b) > 0 {
		n := min(len(b), len(plain))
		unmask(plain[:n], b[:n], key, g.keyAt)
		g.keyAt = (g.keyAt + n) & 3
		g.place.plain = plain[:n]
		if !g.scan.feed(plain[:n], &g.msg) {
			return breach("the message is no JSON")
		}
		g.place.passed()
		b = b[n:]
	}
	if g.msg.broken != "" {
		return breach(g.msg.broken)
	}
	if g.streaming && g.msg.refused != "" {
		return breach(g.msg.name + " is refused: " + g.msg.refused)
	}
	return nil
}

func unmask(dst, src, key []byte, at int) {
	k := [4]byte{key[at&3], key[(at+1)&3], key[(at+2)&3], key[(at+3)&3]}
	k32 := binary.LittleEndian.Uint32(k[:])
	k64 := uint64(k32)<<32 | uint64(k32)
	i := 0
	for ; i+8 <= len(src); i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:])^k64)
	}
	for ; i < len(src); i++ {
		dst[i] = src[i] ^ k[i&3]
	}
}

// endMessage deals with a message that has come to its end. Before is what
// goes to the server before it. Dropped is true if the message does not go on.
func (g *Guard) endMessage(before []byte) (dropped bool, err error) {
	g.inMessage = false
	g.msg.decide()
	g.msg.count()
	if g.msg.refused == "" {
		g.msg.complete()
	}
	switch {
	case !g.scan.done():
		return false, breach("the message is no JSON")
	case g.msg.broken != "":
		return false, breach(g.msg.broken)
	case g.msg.refused == "":
		g.streaming = false
		return false, g.release()
	case g.streaming:
		return false, breach(g.msg.name + " is refused: " + g.msg.refused)
	}
	g.hold = g.hold[:0]
	if err := g.forward(before); err != nil {
		return true, err
	}
	if len(g.control) > 0 {
		err := g.out.Forward(g.control)
		g.control = g.control[:0]
		if err != nil {
			return true, err
		}
	}
	g.out.Refused(g.msg.name)
	if len(g.msg.id) == 0 {
		return true, nil
	}
	return true, g.out.Answer(answer(g.msg.id, g.msg.name, g.msg.refused))
}

// answer is the server's way to say that a call failed.
func answer(id []byte, name, why string) []byte {
	text, _ := json.Marshal("The pool refuses " + name + ": " + why) // a string always works
	body := append([]byte(`{"id":`), id...)
	body = append(body, `,"error":{"error":{"name":"Error","message":`...)
	body = append(append(body, text...), `,"stack":""}},"log":[]}`...)
	frame := []byte{0x81}
	if len(body) < 126 {
		frame = append(frame, byte(len(body))) //nolint:gosec // under 126
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(len(body))) //nolint:gosec // texts are short
	}
	return append(frame, body...)
}
