package relay_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBrokenHeader sends what no frame may be, in every state that a stream can be
// in and on both sides of one session after the other, while another session on the
// same loop goes on. It is passed on as it came, like anything else.
func TestBrokenHeader(t *testing.T) {
	g := newRig(t)
	good := g.session()
	up, down := frame(fin|text, noise(3, 1000), true), frame(fin|text, noise(4, 1000), false)
	states := map[string]func(masked bool) []byte{
		"at the start":      func(bool) []byte { return nil },
		"behind a message":  func(masked bool) []byte { return frame(fin|binaryMessage, noise(1, 70_000), masked) },
		"within a message":  func(masked bool) []byte { return frame(text, noise(1, 200), masked) },
		"behind a ping":     func(masked bool) []byte { return frame(fin|ping, noise(1, 125), masked) },
		"behind a farewell": func(masked bool) []byte { return frame(fin|closeFrame, []byte{3, 232}, masked) },
		"behind nonsense":   func(bool) []byte { return []byte{0xff, 0xff, 0xff} },
	}
	headers := map[string][]byte{
		"reserved bits":                    {0xf1, 0x80, 1, 2, 3, 4},
		"an operation that is not defined": {0x8b, 0x80, 1, 2, 3, 4},
		"a ping in pieces":                 {0x09, 0x80, 1, 2, 3, 4},
		"a ping of 65,535 bytes":           {0x89, 0xfe, 0xff, 0xff, 1, 2, 3, 4},
		"a length of 64 bits":              {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
		"a short length written long":      {0x82, 126, 0, 1, 7},
		"the rest of no message":           {0x80, 0x01, 'x'},
		"half a length":                    {0x82, 0x7f, 0, 0},
		"a farewell of one byte":           {0x88, 0x01, 3},
		"a farewell with a code of ours":   {0x88, 0x02, 3, 237}, // 1005 is never sent
		"a farewell that says too much":    append([]byte{0x88, 126, 0, 200}, bytes.Repeat([]byte("!"), 200)...),
	}
	messages := 0
	for state, before := range states {
		for name, header := range headers {
			s := g.session()
			sentUp, sentDown := append(before(true), header...), append(before(false), header...)
			write(t, s.client, sentUp)
			require.Equal(t, sentUp, read(t, s.worker, len(sentUp)), "%s, %s", name, state)
			write(t, s.worker, sentDown)
			require.Equal(t, sentDown, read(t, s.client, len(sentDown)), "%s, %s", name, state)
			write(t, good.client, up)
			require.Equal(t, up, read(t, good.worker, len(up)))
			write(t, good.worker, down)
			require.Equal(t, down, read(t, good.client, len(down)))
			messages++
			_ = s.client.Close()
			_ = s.worker.Close()
			r := s.ended()
			require.EqualValues(t, len(sentUp), r.BytesUp)
			require.EqualValues(t, len(sentDown), r.BytesDown)
		}
	}
	_ = good.client.Close()
	_ = good.worker.Close()
	r := good.ended()
	require.EqualValues(t, messages, r.MessagesUp)
	require.EqualValues(t, messages, r.MessagesDown)
}
