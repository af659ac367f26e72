package wsframe

import (
	"encoding/binary"
	"math/rand/v2"
	"unicode/utf8"
)

// Statuses that stand for "no status" and "no close frame" inside a program
// and never travel (RFC 6455, section 7.4.1).
const (
	statusNone     = 1005
	statusAbnormal = 1006
	statusTLS      = 1015
)

// AppendClose appends a close frame to dst. A code that may not travel (1005,
// 1006, 1015, any outside 1000 to 4999) gives a frame without a status and
// without the reason. A reason beyond the 123 bytes that fit is cut at a rune. masked must
// be true towards a server and false towards a client.
func AppendClose(dst []byte, code int, reason string, masked bool) []byte {
	var payload [maxControl]byte
	n := 0
	if code >= 1000 && code <= 4999 && code != statusNone && code != statusAbnormal && code != statusTLS {
		binary.BigEndian.PutUint16(payload[:], uint16(code))
		n = 2 + copy(payload[2:], cut(reason, maxControl-2))
	}
	return appendControl(dst, opClose, payload[:n], masked)
}

// AppendPing appends a ping frame to dst. A payload beyond 125 bytes is cut.
// masked is as for [AppendClose].
func AppendPing(dst, payload []byte, masked bool) []byte {
	return appendControl(dst, opPing, payload[:min(len(payload), maxControl)], masked)
}

func appendControl(dst []byte, op byte, payload []byte, masked bool) []byte {
	dst = append(dst, bitFin|op, byte(len(payload))) //nolint:gosec // at most 125
	if !masked {
		return append(dst, payload...)
	}
	dst[len(dst)-1] |= bitMask
	// A key keeps a page from choosing the bytes on the wire; nothing that a
	// page chooses goes into these frames.
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32()) //nolint:gosec // see above
	dst = append(dst, key[:]...)
	for i, b := range payload {
		dst = append(dst, b^key[i&3])
	}
	return dst
}

// cut shortens s to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// PingSize is the length of a ping frame with so long a payload, which must fit.
func PingSize(payload int, masked bool) int {
	if masked {
		return 2 + 4 + payload
	}
	return 2 + payload
}

// OnlyPong returns the payload of the pong frame that b is, unmasked; ok is
// false if b is anything else, or more than that. b must begin where a frame
// does. masked tells whether frames of this direction are.
func OnlyPong(b []byte, masked bool) (payload []byte, ok bool) {
	if len(b) < 2 || b[0] != bitFin|opPong || b[1]&^bitMask > maxControl || masked != (b[1]&bitMask != 0) {
		return nil, false
	}
	n := int(b[1] &^ bitMask)
	if len(b) != PingSize(n, masked) {
		return nil, false
	}
	if !masked {
		return b[2:], true
	}
	payload = make([]byte, n)
	for i := range payload {
		payload[i] = b[6+i] ^ b[2+i&3]
	}
	return payload, true
}
