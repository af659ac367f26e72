package relay_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBrokenHeader sends headers that no frame may have, on both sides of one
// session after the other, while another session on the same loop goes on.
func TestBrokenHeader(t *testing.T) {
	g := newRig(t)
	good := g.session()
	message := frame(fin|text, noise(3, 1000), true)
	for _, header := range [][]byte{
		{0xf1, 0x80, 1, 2, 3, 4},             // reserved bits
		{0x8b, 0x80, 1, 2, 3, 4},             // an operation that is not defined
		{0x09, 0x80, 1, 2, 3, 4},             // a ping in pieces
		{0x89, 0xfe, 0xff, 0xff, 1, 2, 3, 4}, // a ping of 65,535 bytes
		{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, // a length of 64 bits
	} {
		s := g.session()
		write(t, s.client, header)
		require.Equal(t, header, read(t, s.worker, len(header)))
		write(t, s.worker, header)
		require.Equal(t, header, read(t, s.client, len(header)))
		write(t, good.client, message)
		require.Equal(t, message, read(t, good.worker, len(message)))
		_ = s.client.Close()
		_ = s.worker.Close()
		require.EqualValues(t, len(header), s.ended().BytesUp)
	}
	_ = good.client.Close()
	_ = good.worker.Close()
	require.EqualValues(t, 5, good.ended().MessagesUp)
}
