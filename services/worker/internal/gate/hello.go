package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
)

// hello is what a Playwright client says first, Root.initialize, but for what is
// each session's own: its parameters as they come, which tell the language of the
// client and what it can take. It is empty where a client began in another way.
//
// The server's answer is the same for all who say the same, but for the call's id
// and names that it makes up for each connection. So it can be asked before the
// client does, and nothing of a client's is in what it is asked. All that it changes
// beyond its connection is the language in which the server writes texts for all
// sessions, which is that of whoever said hello last.
type hello string

const (
	// maxHello bounds what is taken for one; those of stock clients have some 200 bytes.
	maxHello = 1 << 10
	// maxWelcome bounds the answer, of some 2 KiB.
	maxWelcome = 32 << 10
	// helloID is the call's id where the gate says it.
	helloID = `1`
)

// parseHello reads the first message of a client. size is that of its frame, 0
// where more is to come; said is empty where it is no hello.
func parseHello(b []byte) (said hello, id []byte, size int) {
	const opText = 0x81
	if len(b) < 2 {
		return "", nil, 0
	}
	start, length := 2, int(b[1]&0x7f)
	if b[0] != opText || b[1]&0x80 == 0 || length > 126 {
		return "", nil, len(b)
	}
	if length == 126 {
		if len(b) < 4 {
			return "", nil, 0
		}
		start, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	start += 4 // the key
	switch size = start + length; {
	case size > maxHello:
		return "", nil, len(b)
	case size > len(b):
		return "", nil, 0
	}
	text := bytes.Clone(b[start:size])
	for i := range text {
		text[i] ^= b[start-4+i&3]
	}
	var call struct {
		ID       json.RawMessage `json:"id"`
		GUID     *string         `json:"guid"`
		Method   string          `json:"method"`
		Params   json.RawMessage `json:"params"`
		Metadata json.RawMessage `json:"metadata"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&call) != nil || call.GUID == nil || *call.GUID != "" || call.Method != "initialize" || !isID(call.ID) {
		return "", nil, size
	}
	return hello(call.Params), call.ID, size
}

// isID tells an id of which the answer's text can be made as it is.
func isID(id []byte) bool {
	name := len(id) > 2 && id[0] == '"'
	if name {
		id = id[1 : len(id)-1]
	}
	for _, c := range id {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '@' || c == '-' || c == '_'
		if (c < '0' || c > '9') && (!name || !letter) {
			return false
		}
	}
	return len(id) > 0
}

// frame is the hello as the gate says it.
func (h hello) frame() []byte {
	text := []byte(`{"id":` + helloID + `,"guid":"","method":"initialize","params":` + string(h) + `,"metadata":{"internal":true}}`)
	out := append(textHead(len(text)), 0, 0, 0, 0) // a key that leaves the text as it is
	out[1] |= 0x80
	return append(out, text...)
}

func textHead(length int) []byte {
	if length < 126 {
		return []byte{0x81, byte(length)} //nolint:gosec // under 126
	}
	return binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(length)) //nolint:gosec // under maxWelcome
}

// welcome is the server's answer to a hello: messages that make objects known,
// and the result, without the id that the call had.
type welcome struct {
	to     hello
	before []byte
	result []byte
}

var errWelcome = errors.New("an answer to initialize that is none")

// readWelcome reads what the server says to a hello of the gate's.
func readWelcome(to hello, in *bufio.Reader) (*welcome, error) {
	w := &welcome{to: to}
	answer := []byte(`{"id":` + helloID + `,`)
	for {
		head, text, err := readText(in)
		switch {
		case err != nil:
			return nil, err
		case len(w.before)+len(head)+len(text) > maxWelcome:
			return nil, errWelcome
		case bytes.HasPrefix(text, answer):
			w.result = text[len(answer)-1:]
			if !bytes.HasPrefix(w.result, []byte(`,"result":{`)) {
				return nil, errWelcome
			}
			return w, nil
		case !bytes.HasPrefix(text, []byte(`{"guid":`)):
			return nil, errWelcome
		}
		w.before = append(append(w.before, head...), text...)
	}
}

// readText reads a message of the server's, which is one frame of text.
func readText(in *bufio.Reader) (head, text []byte, err error) {
	head = make([]byte, 2, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, nil, err
	}
	length := int(head[1])
	if head[0] != 0x81 || length > 126 {
		return nil, nil, errWelcome
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

// answer is the welcome for a call with that id.
func (w *welcome) answer(id []byte) []byte {
	text := append(append([]byte(`{"id":`), id...), w.result...)
	return append(append(bytes.Clone(w.before), textHead(len(text))...), text...)
}

// ear hears a client's hello in what it sends.
type ear struct {
	said  hello
	heard []byte
	deaf  bool
}

func (e *ear) hear(b []byte) {
	if e.deaf {
		return
	}
	e.heard = append(e.heard, b[:min(len(b), maxHello-len(e.heard))]...)
	said, _, size := parseHello(e.heard)
	if e.deaf = size > 0 || len(e.heard) >= maxHello; e.deaf {
		e.said, e.heard = said, nil
	}
}
