package relay_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// TestStallsTakeFewDescriptors has many readers stall: no more of their directions than
// may have a descriptor each, whoever has none costs next to nothing, and everybody goes
// on who reads at last. Where there is no descriptor at all it is the same.
func TestStallsTakeFewDescriptors(t *testing.T) {
	const sessions, rooms = 6, 2
	for name, c := range map[string]struct{ full bool }{"a few": {}, "none is left": {full: true}} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, func(o *relay.Options) { o.Ping, o.Stall, o.Pipes, o.Rooms = 0, time.Hour, 0, rooms })
			var all []*session
			for range sessions {
				all = append(all, g.session())
			}
			before := descriptors(t)
			if c.full {
				defer exhaust(t)()
			}
			var sent [sessions][]byte
			for i, s := range all {
				sender, _ := s.far(i % 2)
				sent[i] = fill(t, sender)
				require.Eventually(t, func() bool { return s.BlockedFrom(i % 2) }, patience, time.Millisecond)
			}
			if !c.full {
				require.LessOrEqual(t, descriptors(t), before+rooms)
			}
			require.GreaterOrEqual(t, g.relay.Roomless(), sessions-rooms)
			used := cpu()
			<-time.After(500 * time.Millisecond)
			require.Less(t, cpu()-used, 100*time.Millisecond)
			for i, s := range all {
				_, reader := s.far(i % 2)
				require.True(t, bytes.Equal(sent[i], read(t, reader, len(sent[i]))))
			}
			require.Eventually(t, func() bool { return g.relay.Roomless() == 0 }, patience, time.Millisecond)
		})
	}
}

// TestStallsEndWithoutDescriptors ends sessions that wait for room without a descriptor:
// from either side, and by the relay. Nobody looks for room then.
func TestStallsEndWithoutDescriptors(t *testing.T) {
	for name, end := range map[string]func(*session){
		"the reader":    func(s *session) { reset(s.worker) },
		"the sender":    func(s *session) { reset(s.client); reset(s.worker) },
		"the relay":     func(s *session) { s.Close(relay.ReasonDrained) },
		"its loop, too": func(s *session) { s.Drop(); s.Close(relay.ReasonDrained) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, func(o *relay.Options) { o.Ping, o.Stall, o.Rooms = 0, time.Hour, 0 })
			s := g.session()
			_ = fill(t, s.client)
			require.Eventually(t, func() bool { return s.BlockedFrom(0) && g.relay.Roomless() == 1 }, patience, time.Millisecond)
			end(s)
			if name == "the reader" {
				_ = s.client.Close()
			}
			s.ended()
			require.Zero(t, g.relay.Roomless())
		})
	}
}

// exhaust leaves this process no descriptor until it is undone.
func exhaust(t *testing.T) (undo func()) {
	t.Helper()
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	lowest, err := unix.Open(os.DevNull, unix.O_CLOEXEC, 0) // all below are in use
	require.NoError(t, err)
	require.NoError(t, unix.Close(lowest))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(lowest), Max: before.Max}))
	return func() {
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: before.Cur, Max: before.Max}))
	}
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
