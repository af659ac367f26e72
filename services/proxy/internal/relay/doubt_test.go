package relay_test

import (
	"bufio"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// rarely pings workers every half minute, and bears no silence for long.
func rarely(o *relay.Options) {
	o.Ping, o.Dead, o.Linger = 8*time.Second, time.Second, 100*time.Millisecond
}

// farewell reads to the end, and returns the payload of the close frame.
func farewell(t *testing.T, s *session) (got string) {
	t.Helper()
	_ = s.client.SetReadDeadline(time.Now().Add(patience))
	for r := bufio.NewReader(s.client); ; {
		first, payload, err := next(r)
		if err != nil {
			return got
		}
		if first == fin|closeFrame {
			got = string(payload)
		}
	}
}

// TestDoubtedWorkerThatIsSilent gives it up, long before it would have been
// pinged, and tells its client why.
func TestDoubtedWorkerThatIsSilent(t *testing.T) {
	s := newRig(t, rarely).session()
	s.Doubt()
	require.Equal(t, "\x03\xe9the worker of this session has stopped answering: connect again", farewell(t, s))
	_ = s.client.Close()
	require.Equal(t, relay.ReasonLost, s.ended().Reason)
	require.Zero(t, s.Looks(), "it was asked before its turn came")
}

// TestDoubtedWorkerThatTakesNothing does not wait for the stall limit, which is
// for peers that are slow.
func TestDoubtedWorkerThatTakesNothing(t *testing.T) {
	s := newRig(t, rarely).session()
	go func() { _, _ = s.client.Write(frame(fin|binaryMessage, noise(1, 32<<20), true)) }()
	require.Eventually(t, func() bool { return s.BlockedFrom(0) }, patience, time.Millisecond)
	s.Doubt()
	require.Equal(t, relay.ReasonLost, s.ended().Reason)
}

// TestDoubtedWorkerThatAnswers goes on, and is asked as often as clients are for
// as long as the doubt lasts.
func TestDoubtedWorkerThatAnswers(t *testing.T) {
	s := newRig(t, func(o *relay.Options) { o.Ping, o.Dead = 64*time.Millisecond, 5*time.Second }).session()
	go answers(s.client, true, func(byte, []byte) {})
	apart := make(chan uint32, 1) // looks between two pings of the worker
	go func() {
		last := uint32(0)
		answers(s.worker, false, func(byte, []byte) {
			now := s.Looks()
			select {
			case apart <- now - last:
			default:
			}
			last = now
		})
	}()
	until := func(what string, ok func(uint32) bool) {
		t.Helper()
		require.Eventually(t, func() bool { return ok(receive(t, apart)) }, patience, time.Millisecond, what)
	}
	rare, frequent := func(n uint32) bool { return n >= 8 }, func(n uint32) bool { return n < 6 }
	until("it is asked seldom", rare)
	s.Doubt()
	for range 10 {
		until("it is asked often", frequent)
	}
	require.Zero(t, s.ends.Load())
	s.Trust()
	until("it is asked seldom again", rare)
}

// TestDoubtWithinAFrame waits for the end of the frame that the client is
// sending: before that the worker cannot be asked, and owes nothing.
func TestDoubtWithinAFrame(t *testing.T) {
	s := newRig(t, rarely).session()
	whole := frame(fin|binaryMessage, noise(1, 1000), true)
	write(t, s.client, whole[:500])
	require.Equal(t, whole[:500], read(t, s.worker, 500))
	s.Doubt()
	began := time.Now()
	require.Eventually(t, func() bool { return s.ends.Load() > 0 || time.Since(began) > 3*time.Second }, patience, time.Millisecond)
	require.Zero(t, s.ends.Load())
	write(t, s.client, whole[500:])
	require.Equal(t, whole[500:], read(t, s.worker, len(whole)-500))
	require.Equal(t, byte(fin|ping), read(t, s.worker, 2)[0])
	require.Equal(t, relay.ReasonLost, s.ended().Reason, "and from then on it owes an answer")
}
