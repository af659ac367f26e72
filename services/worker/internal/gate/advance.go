package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
)

// advance is a call of an opening that the gate has made before the client, on a
// connection that will be the client's.
//
// The answer is the same for all who make the call, but for the call's id and names
// that the server makes up, and nothing of a client's is in what it is asked. All that
// a hello changes beyond its connection is the language in which the server writes
// texts for all sessions, which is that of whoever said hello last.
type advance struct {
	step   int
	guid   string // of the object that is called
	params string

	// The server's answer: messages that make objects known, the result, without the
	// id that the call had, and messages of these objects that came later.
	before, result, after []byte
	said                  uint64            // messages of it
	made                  map[string]string // objects, guid → type
	main                  string            // of these the one that the call is for
	// spoilt is set when something has become of the objects that no client expects of new ones.
	spoilt bool
}

// maxAnswer bounds an answer; that to a hello has some 2 KiB, the others less.
const maxAnswer = 32 << 10

func newAdvance(step int, guid, params string) *advance {
	return &advance{step: step, guid: guid, params: params, made: map[string]string{}}
}

// id is that of the call where the gate makes it.
func (a *advance) id() string { return strconv.Itoa(a.step + 1) }

// frame is the call as the gate makes it.
func (a *advance) frame() []byte { return callFrame(a.id(), a.guid, steps[a.step].method, a.params) }

func callFrame(id, guid, method, params string) []byte {
	text := fmt.Appendf(nil, `{"id":%s,"guid":%q,"method":%q,"params":%s,"metadata":{"internal":true}}`, id, guid, method, params)
	out := append(textHead(len(text)), 0, 0, 0, 0) // a key that leaves the text as it is
	out[1] |= 0x80
	return append(out, text...)
}

func textHead(length int) []byte {
	if length < 126 {
		return []byte{finalText, byte(length)} //nolint:gosec // under 126
	}
	return binary.BigEndian.AppendUint16([]byte{finalText, 126}, uint16(length)) //nolint:gosec // under maxAnswer
}

// allowed tells whether the guard would let the client make the call.
func (a *advance) allowed(rules *guard.Rules) bool {
	if rules == nil {
		return false
	}
	var o goneOn
	err := rules.Guard(&o).Feed(a.frame())
	return err == nil && bytes.Equal(o, a.frame())
}

// goneOn is what a guard has let through.
type goneOn []byte

// Forward implements guard.Out.
func (o *goneOn) Forward(b []byte) error { *o = append(*o, b...); return nil }

// Answer implements guard.Out.
func (o *goneOn) Answer([]byte) error { return nil }

// Refused implements guard.Out.
func (o *goneOn) Refused(string) {}

// closingID is the id of the gate's call that closes what a client has not asked for.
const closingID = `"gate"`

// closing is that call.
func closing(a *advance) []byte {
	return callFrame(closingID, a.main, "close", "{}")
}

var errAnswer = errors.New("an answer that is none to a call made in advance")

// hear reads what the server says to the call.
func (a *advance) hear(in *bufio.Reader) error {
	answer := []byte(`{"id":` + a.id() + `,`)
	for {
		a.said++
		head, text, err := readText(in)
		switch {
		case err != nil:
			return err
		case len(a.before)+len(head)+len(text) > maxAnswer:
			return errAnswer
		case bytes.HasPrefix(text, answer):
			a.result = text[len(answer)-1:]
			if !bytes.HasPrefix(a.result, []byte(`,"result":{`)) {
				return errAnswer
			}
			return nil
		case !bytes.HasPrefix(text, []byte(`{"guid":`)):
			return errAnswer
		}
		_ = a.note(text)
		a.before = append(append(a.before, head...), text...)
	}
}

// follow takes in what the server says of the objects after the answer. Of a page
// that is that nothing was loaded for half a second.
func (a *advance) follow(text []byte) {
	if a.note(text) != "loadstate" || len(a.after)+len(text) > maxAnswer {
		a.spoilt = true
		return
	}
	a.said++
	a.after = append(append(a.after, textHead(len(text))...), text...)
}

// note notes an object that the server makes known, and returns what the message says.
func (a *advance) note(text []byte) (method string) {
	var m struct {
		Method string `json:"method"`
		Params struct {
			Type string `json:"type"`
			GUID string `json:"guid"`
		} `json:"params"`
	}
	if json.Unmarshal(text, &m) == nil && m.Method == "__create__" {
		a.made[m.Params.GUID] = m.Params.Type
	}
	return m.Method
}

// only is the guid of the one object of that type, empty where there is not one.
func (a *advance) only(kind string) (guid string) {
	for g, k := range a.made {
		if k == kind && guid != "" {
			return ""
		} else if k == kind {
			guid = g
		}
	}
	return guid
}

// readText reads a message of the server's, which is one frame of text.
func readText(in *bufio.Reader) (head, text []byte, err error) {
	head = make([]byte, 2, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, nil, err
	}
	length := int(head[1])
	if head[0] == finalClose {
		return nil, nil, io.EOF
	}
	if head[0] != finalText || length > 126 {
		return nil, nil, errAnswer
	}
	if length == 126 {
		head = head[:4]
		if _, err := io.ReadFull(in, head[2:]); err != nil {
			return nil, nil, err
		}
		length = int(binary.BigEndian.Uint16(head[2:]))
	}
	text = make([]byte, length)
	_, err = io.ReadFull(in, text)
	return head, text, err
}

// suits tells whether it is what a client calls.
func (a *advance) suits(c call) bool {
	return c.method == steps[a.step].method && c.guid == a.guid && string(c.params) == a.params
}

// answer is the server's answer for a call with that id.
func (a *advance) answer(id []byte) []byte {
	text := append(append([]byte(`{"id":`), id...), a.result...)
	return slices.Concat(a.before, textHead(len(text)), text, a.after)
}
