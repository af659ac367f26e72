package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// TestCloseAll ends sessions with a close frame, which stands behind the frame that
// the worker is sending, and nothing behind it. Where it can stand nowhere, or the
// client takes nothing, the session ends all the same.
func TestCloseAll(t *testing.T) {
	const reason = "drained"
	bye := wsframe.AppendClose(nil, 1001, "going", false)
	message := frame(fin|binaryMessage, noise(1, 1000), false)
	for name, c := range map[string]struct {
		before, after, want []byte // from the worker, and what the client has got in the end
	}{
		"at rest":                 {nil, nil, bye},
		"within a frame":          {message[:300], message[300:], join(message, bye)},
		"behind a frame":          {message, message, join(message, bye)},
		"between fragments":       {frame(text, []byte("a"), false), nil, join(frame(text, []byte("a"), false), bye)},
		"behind a farewell":       {frame(fin|closeFrame, nil, false), nil, frame(fin|closeFrame, nil, false)},
		"within an endless frame": {message[:300], nil, message[:300]},
		"within nonsense":         {[]byte{0xff, 0xff}, nil, []byte{0xff, 0xff}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, func(o *relay.Options) { o.Linger = 500 * time.Millisecond })
			s := g.session()
			if c.before != nil {
				write(t, s.worker, c.before)
				require.Equal(t, c.before, read(t, s.client, len(c.before)))
			}
			g.relay.CloseAll(1001, reason, "going")
			if c.after != nil {
				write(t, s.worker, c.after)
			}
			require.Equal(t, c.want, join(c.before, rest(t, s.client)))
			_ = s.client.Close()
			require.Equal(t, reason, s.ended().Reason)
		})
	}
	t.Run("to a client that does not read", func(t *testing.T) {
		g := newRig(t, func(o *relay.Options) { o.Linger = 300 * time.Millisecond })
		s := g.session()
		_ = fill(t, s.worker)
		g.relay.CloseAll(1001, reason, "going")
		require.Equal(t, reason, s.ended().Reason)
	})
}

// The worker's connection ends as soon as the client has been told, whatever the client
// does: the slot may be given away by then.
func TestCloseAllLetsTheWorkerGo(t *testing.T) {
	g := newRig(t, func(o *relay.Options) { o.Linger = time.Hour })
	s := g.session()
	g.relay.CloseAll(1001, "drained", "going")
	require.Empty(t, rest(t, s.worker))
	require.Equal(t, wsframe.AppendClose(nil, 1001, "going", false), rest(t, s.client))
	_, _ = s.worker.Close(), s.client.Close()
	require.Equal(t, "drained", s.ended().Reason)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
