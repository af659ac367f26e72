package gate

import (
	"bytes"
	"encoding/binary"
	"math"
)

// veil keeps from a client what the server says of objects that the client does not
// know of yet, since it has not made the calls that made them. What has been kept
// follows the answer to the call.
type veil struct {
	hidden map[string]*advance // by guid
	gone   chan struct{}       // closed when the server has closed all that is hidden; nil where it was not asked to

	head []byte   // of a message: its header, and as much as tells whom it is of
	left uint64   // bytes of the current frame that come
	of   *advance // whom that is of, if the client does not know of it
	text []byte   // of that
	own  bool     // that is the answer to a call of the gate's
}

var (
	closed  = []byte(`{"id":` + closingID)
	refused = []byte(`,"error":`)
)

// ofWhom is how a message of an object begins.
var ofWhom = []byte(`{"guid":"`)

const (
	// maxWhom is how many bytes of a message tell whom it is of.
	maxWhom = 100
	// finalText begins a message that is one frame of text.
	finalText = 0x81
	// finalClose begins a close frame.
	finalClose = 0x88
)

func newVeil(calls []*advance) *veil {
	v := &veil{hidden: map[string]*advance{}}
	for _, a := range calls {
		for guid := range a.made {
			v.hidden[guid] = a
		}
	}
	return v
}

// lift shows what a call has made.
func (v *veil) lift(a *advance) {
	for guid, of := range v.hidden {
		if of == a {
			delete(v.hidden, guid)
		}
	}
}

// between tells whether what has passed ends with a message.
func (v *veil) between() bool { return v.left == 0 && len(v.head) == 0 }

// void tells that there is nothing to hide and nothing held back.
func (v *veil) void() bool {
	return len(v.hidden) == 0 && len(v.head) == 0 && v.of == nil && !v.own
}

// pass returns what the client may know of b.
func (v *veil) pass(b []byte) (out []byte) {
	for len(b) > 0 {
		if v.left > 0 {
			n := int(min(v.left, uint64(len(b)), math.MaxInt))
			out = v.put(out, b[:n])
			b, v.left = b[n:], v.left-uint64(n)
			v.end()
			continue
		}
		need, _ := v.need()
		n := min(need-len(v.head), len(b))
		v.head = append(v.head, b[:n]...)
		b = b[n:]
		need, length := v.need()
		if len(v.head) < need {
			continue
		}
		text := v.head[headerOf(v.head):]
		v.left = length - uint64(len(text))
		if v.head[0] == finalText {
			v.of, v.own = v.whose(text), v.gone != nil && bytes.HasPrefix(text, closed)
		}
		if v.own && !bytes.Contains(text, refused) {
			clear(v.hidden)
		}
		if v.of == nil && !v.own {
			out = append(out, v.head...)
		} else {
			v.keep(text)
		}
		v.head = nil
		v.end()
	}
	return out
}

// put adds a part of a message to what the client may know of, if it is.
func (v *veil) put(out, b []byte) []byte {
	if v.of == nil && !v.own {
		return append(out, b...)
	}
	v.keep(b)
	return out
}

// keep keeps a part of a message.
func (v *veil) keep(b []byte) {
	if v.of != nil && len(v.text) <= maxAnswer {
		v.text = append(v.text, b...)
	}
}

// end takes in a message that is to be kept, if it has ended.
func (v *veil) end() {
	if v.left > 0 {
		return
	}
	if v.own {
		v.own = false
		close(v.gone)
		v.gone = nil
	}
	if v.of == nil {
		return
	}
	v.of.follow(v.text)
	for guid := range v.of.made {
		v.hidden[guid] = v.of
	}
	v.of, v.text = nil, nil
}

// need is how many bytes of a frame tell whom it is of, as far as what has come of
// it tells, and the length of its payload.
func (v *veil) need() (n int, length uint64) {
	n = headerOf(v.head)
	if len(v.head) < n {
		return n, 0
	}
	switch length = uint64(v.head[1] & 0x7f); length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(v.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(v.head[2:])
	}
	return n + int(min(length, maxWhom)), length
}

// headerOf is how long the header of a frame is, as far as what has come of it tells.
func headerOf(head []byte) int {
	n := 2
	if len(head) < n {
		return n
	}
	switch head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if head[1]&0x80 != 0 {
		n += 4 // a key, which no server sends
	}
	return n
}

// whose is the call for which the object was made that a message is of, nil where
// the client knows of it.
func (v *veil) whose(text []byte) *advance {
	rest, ok := bytes.CutPrefix(text, ofWhom)
	if !ok {
		return nil
	}
	guid, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return nil
	}
	return v.hidden[string(guid)]
}
