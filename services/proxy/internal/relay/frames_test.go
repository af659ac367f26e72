package relay_test

import (
	"encoding/binary"
	"math/rand/v2"
)

// Frame opcodes and bits.
const (
	fin, compressed     = 0x80, 0x40
	continuation        = 0x0
	text, binaryMessage = 0x1, 0x2
	closeFrame          = 0x8
	ping, pong          = 0x9, 0xA
)

// frame is one WebSocket frame.
func frame(first byte, payload []byte, masked bool) []byte {
	return append(frameHeader(first, len(payload), masked), payload...)
}

// frameHeader is what stands before a payload of so many bytes.
func frameHeader(first byte, size int, masked bool) []byte {
	b := []byte{first, 0}
	switch {
	case size < 126:
		b[1] = byte(size)
	case size < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(size))
	}
	if masked {
		b[1] |= 0x80
		b = append(b, 0xde, 0xad, 0xbe, 0xef) // the relay does not look behind it
	}
	return b
}

// noise is n bytes without a pattern.
func noise(seed uint64, n int) []byte {
	var s [32]byte
	binary.BigEndian.PutUint64(s[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(b)
	return b
}

// conversation is about n bytes of what one side of a session sends: messages
// of all sizes, some marked as compressed, some in fragments with control
// frames between them.
func conversation(seed uint64, n int, masked bool) (stream []byte, messages uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	sizes := []int{0, 1, 20, 125, 126, 200, 4096, 65535, 65536, 200_000}
	for len(stream) < n {
		var bits byte
		if r.IntN(2) == 0 {
			bits = compressed
		}
		fragments := 1
		if r.IntN(4) == 0 {
			fragments = 2 + r.IntN(4)
		}
		op := byte(text + r.IntN(2))
		for i := range fragments {
			first := op | bits
			if i > 0 {
				first = continuation
			}
			if i == fragments-1 {
				first |= fin
			}
			stream = append(stream, frame(first, noise(r.Uint64(), sizes[r.IntN(len(sizes))]), masked)...)
			if r.IntN(3) == 0 {
				stream = append(stream, frame(fin|byte(ping+r.IntN(2)), noise(r.Uint64(), r.IntN(126)), masked)...)
			}
		}
		messages++
	}
	return stream, messages
}
