package relay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// What went through a session is known while it runs: whoever ends it tells the pool
// before it has ended.
func TestCountsOfARunningSession(t *testing.T) {
	piped(t, func(t *testing.T, pipes int) {
		s := newRig(t, func(o *relay.Options) { o.Pipes = pipes }).session()
		require.Zero(t, s.Counts())
		up, upMessages := longFrames(1, 20, true)
		down, downMessages := longFrames(2, 20, false)
		up = join(up, frame(fin|binaryMessage, noise(3, 1<<20), true)) // nothing comes behind its end
		upMessages++
		begun := frameHeader(fin|binaryMessage, 1<<20, false) // of a message that does not end
		go func() { _, _ = s.client.Write(up) }()
		go func() { _, _ = s.worker.Write(join(down, begun)) }()
		require.Equal(t, up, read(t, s.worker, len(up)))
		require.Equal(t, join(down, begun), read(t, s.client, len(down)+len(begun)))

		want := relay.Counts{BytesUp: uint64(len(up)), BytesDown: uint64(len(down) + len(begun)), MessagesUp: upMessages, MessagesDown: downMessages}
		require.Eventually(t, func() bool { return s.Counts() == want }, patience, time.Millisecond)
		s.Session.Close("killed")
		require.Equal(t, relay.Result{Reason: "killed", Counts: want}, s.ended())
	})
}
