package relay_test

import (
	"bufio"
	"crypto/sha256"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// A ping does not take the place of what was read and still waits to be written, although that
// ends with a frame and somebody has just been told of room.
func TestI8PingWhileBytesWait(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t, func(o *relay.Options) { o.Ping = 0 }).session()
		sender, reader := s.far(from)
		message := frame(fin|binaryMessage, noise(1, 64_000), from == 0)
		sent, messages := sha256.New(), 0
		for !s.BlockedFrom(from) {
			write(t, sender, message)
			_, _ = sent.Write(message)
			messages++
			require.Eventually(t, func() bool {
				n := s.Counts()
				// Whether there is room for it shows when it has been counted.
				return [...]uint64{n.BytesUp, n.BytesDown}[from] == uint64(messages*len(message)) && s.AtRest(from)
			}, patience, time.Millisecond/10, "all of it is read")
		}
		s.PingUnblocked(from)

		_ = reader.SetReadDeadline(time.Now().Add(patience))
		in, got := bufio.NewReader(reader), sha256.New()
		for pings := 0; messages > 0 || pings == 0; {
			head, err := in.Peek(2)
			require.NoError(t, err)
			if head[0] == fin|ping {
				pings++
				_, _ = in.Discard(len(ownPing(from == 0)))
				continue
			}
			_, err = io.CopyN(got, in, int64(len(message)))
			require.NoError(t, err)
			messages--
		}
		require.Equal(t, sent.Sum(nil), got.Sum(nil))
	})
}
