package relay_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// descriptors counts the open ones of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

// TestNothingIsLeft has many sessions, which end in each way a peer can end
// them, and then as few descriptors and goroutines as after the first.
func TestNothingIsLeft(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	g := newRig(t)
	one := func(i int) {
		s := g.session()
		up, down := frame(fin|text, []byte("up"), true), frame(fin|text, []byte("down"), false)
		write(t, s.client, up)
		require.Equal(t, up, read(t, s.worker, len(up)))
		write(t, s.worker, down)
		require.Equal(t, down, read(t, s.client, len(down)))
		first, second := s.client, s.worker
		if i%2 == 1 {
			first, second = second, first
		}
		if i%4 < 2 {
			reset(first)
		} else {
			_ = first.Close()
		}
		_ = second.Close()
		s.ended()
	}
	for i := range 4 {
		one(i)
	}
	require.Eventually(t, func() bool { return g.relay.Len() == 0 }, patience, time.Millisecond)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for i := range n {
		one(i)
	}
	// A few more are the runtime's own affair; what a session leaves behind is thousands.
	require.Eventually(t, func() bool {
		return g.relay.Len() == 0 && g.relay.Known() == pollers && runtime.NumGoroutine() <= goroutines+5 && descriptors(t) <= files+5
	}, patience, 10*time.Millisecond)
}

// TestClose closes the relay while sessions run and others are stuck: each is
// reported, once.
func TestClose(t *testing.T) {
	g := newRig(t)
	all := make([]*session, 0, 20)
	for i := range 20 {
		s := g.session()
		if i%10 == 0 {
			_ = fill(t, s.client)
		}
		all = append(all, s)
	}
	g.relay.Close()
	require.Zero(t, g.relay.Len())
	for _, s := range all {
		s.ended()
		require.EqualValues(t, 1, s.ends.Load())
	}
}
