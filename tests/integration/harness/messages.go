package harness

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"
)

// Kinds of WebSocket frames; Final and Compressed are flags of a frame's first byte.
const (
	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	Final          = 0x80
	Compressed     = 0x40
)

// Frame is a client's frame, masked.
func Frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{1, 0x80, 0xfe, 7}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

// Deflate compresses as permessage-deflate does.
func Deflate(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // a level that there is
	_, _ = io.WriteString(w, text)                     // into memory
	_ = w.Flush()
	return string(bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
}

// Message is one of the Playwright server's, or the end of the connection.
type Message struct {
	Text   string
	Ended  bool
	Code   int // of the close frame, 0 without one
	Reason string
}

// Next reads the next message of an upgraded connection.
func (r *Raw) Next(tb testing.TB) Message {
	tb.Helper()
	if err := r.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	var text []byte
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r.in, head); err != nil {
			if isTimeout(err) {
				tb.Fatalf("no message within %s", Patience)
			}
			return Message{Ended: true}
		}
		n := uint64(head[1] & 0x7f)
		more := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		_, err := io.ReadFull(r.in, more)
		switch len(more) {
		case 2:
			n = uint64(binary.BigEndian.Uint16(more))
		case 8:
			n = binary.BigEndian.Uint64(more)
		}
		payload := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(r.in, payload)
		}
		if err != nil {
			return Message{Ended: true}
		}
		switch op := head[0] & 0x0f; {
		case op == OpClose && len(payload) >= 2:
			return Message{Ended: true, Code: int(binary.BigEndian.Uint16(payload)), Reason: string(payload[2:])}
		case op >= OpClose:
		default:
			if text = append(text, payload...); head[0]&Final != 0 {
				return Message{Text: string(text)}
			}
		}
	}
}

// AwaitCall reads messages up to the answer to a call, or to the end, and
// returns that with all that came before it.
func (r *Raw) AwaitCall(tb testing.TB, id int) (answer Message, before []string) {
	tb.Helper()
	for {
		m := r.Next(tb)
		var about struct{ ID int }
		if !m.Ended {
			if err := json.Unmarshal([]byte(m.Text), &about); err != nil {
				tb.Fatalf("not JSON: %q", m.Text)
			}
		}
		if m.Ended || about.ID == id {
			return m, before
		}
		before = append(before, m.Text)
	}
}

// Call is the text of a call of Playwright's protocol.
func Call(id int, guid, method, params string) string {
	return fmt.Sprintf(`{"id":%d,"guid":%q,"method":%q,"params":%s,"metadata":{"internal":false}}`, id, guid, method, params)
}
