package relay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// TestPaceOfLongFrames has a peer on this machine sent long frames, which BBR is to
// have no part in; what is short is not worth a look.
func TestPaceOfLongFrames(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t).paced()
		sender, reader := s.far(from)
		for _, c := range []struct {
			size int
			want string
		}{{200, "bbr"}, {4 << 10, "bbr"}, {4 * relay.LongFrame, "reno"}} {
			stream := append(frameHeader(fin|binaryMessage, c.size, from == 0), noise(1, c.size)...)
			go func() { _, _ = sender.Write(stream) }()
			require.Equal(t, stream, read(t, reader, len(stream)))
			s.requirePace(from, c.want)
		}
		s.requirePace(1-from, "bbr") // nothing was sent there
	})
}

// TestPaceOfShortFrames has so many of them sent that they fill what the kernel holds.
func TestPaceOfShortFrames(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t, func(o *relay.Options) { o.Pipes = 0 }).paced()
		sender, reader := s.far(from)
		go func() {
			for message := frame(fin|binaryMessage, noise(1, 32<<10), from == 0); ; {
				if _, err := sender.Write(message); err != nil {
					return // at the test's end
				}
			}
		}()
		require.Eventually(t, func() bool { return s.BlockedFrom(from) }, patience, time.Millisecond)
		s.requirePace(from, "reno")
		reset(reader)
		reset(sender)
		s.ended()
	})
}

// paced is a session of which both sides have BBR.
func (g *rig) paced() *session {
	g.t.Helper()
	s := g.session()
	for side := range 2 {
		if err := s.Pace(side, "bbr"); err != nil {
			g.t.Skipf("BBR is not to be had here: %v", err)
		}
	}
	return s
}

// requirePace is for whoever reads what a side sends.
func (s *session) requirePace(from int, want string) {
	s.t.Helper()
	now, err := s.Paces(1 - from)
	require.NoError(s.t, err)
	require.Equal(s.t, want, now)
}
