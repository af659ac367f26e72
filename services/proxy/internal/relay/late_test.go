package relay_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// unread has one side send what its reader's kernel does not take whole, and close.
func (s *session) unread(t *testing.T, from int) (sent []byte) {
	t.Helper()
	sender, reader := s.far(from)
	require.NoError(t, reader.SetReadBuffer(16<<10))
	sent = frame(fin|binaryMessage, noise(1, 512<<10), from == 0)
	write(t, sender, sent)
	_ = sender.Close()
	return sent
}

// TestI8ReadsLate has a reader begin long after the linger time, with all that waits
// for it in the kernel, and say something before that. To close its connection then
// would throw away what it has not taken.
func TestI8ReadsLate(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t, func(o *relay.Options) { o.Linger = 50 * time.Millisecond }).session()
		sent := s.unread(t, from)
		_, reader := s.far(from)
		select {
		case <-s.result:
		case <-time.After(500 * time.Millisecond):
		}
		write(t, reader, frame(fin|text, []byte("anybody there?"), from == 1))
		require.Equal(t, sha256.Sum256(sent), sha256.Sum256(rest(t, reader)))
		_ = reader.Close()
		s.ended()
	})
}

// TestReadsNever does not wait for such a reader for longer than the stall limit.
func TestReadsNever(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t, func(o *relay.Options) { o.Linger, o.Stall = 50*time.Millisecond, 300*time.Millisecond }).session()
		_ = s.unread(t, from)
		s.ended()
	})
}

// TestResetsUnread waits for no reader that has gone with bytes on their way to it, of
// which the kernel speaks on.
func TestResetsUnread(t *testing.T) {
	ways(t, func(t *testing.T, from int) {
		s := newRig(t, func(o *relay.Options) { o.Linger = 50 * time.Millisecond }).session()
		sender, reader := s.far(from)
		require.NoError(t, reader.SetReadBuffer(16<<10))
		write(t, sender, frame(fin|binaryMessage, noise(1, 512<<10), from == 0))
		settled(t, sender)
		reset(reader)
		s.ended() // although the sender leaves its connection open
	})
}
