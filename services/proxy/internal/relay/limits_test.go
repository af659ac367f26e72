package relay_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// A client that sends nothing is idle, whatever its worker says, and although it answers
// the relay's pings. One that sends something now and then is not.
func TestIdleSessionsEnd(t *testing.T) {
	const idle = 6 * time.Second
	g := newRig(t, func(o *relay.Options) {
		often(o)
		o.Idle, o.Linger = idle, 300*time.Millisecond
	})
	silent, busy := g.session(), g.session()
	for _, s := range []*session{silent, busy} {
		go answers(s.client, true, func(byte, []byte) {})
		defer chat(s.worker, false, idle/100)()
	}
	stop := chat(busy.client, true, idle/100)
	require.Equal(t, relay.ReasonIdle, silent.ended().Reason)
	require.Zero(t, busy.ends.Load())
	stop()
	require.Equal(t, relay.ReasonIdle, busy.ended().Reason)
}

// A client is not idle while something of its own waits for its worker, be it in the relay or in
// the kernel: it can do nothing about that.
func TestAnUploadIsNotIdle(t *testing.T) {
	const idle = 3 * time.Second
	g := newRig(t, func(o *relay.Options) {
		o.Ping, o.Stall, o.Idle, o.Linger = 0, time.Hour, idle, 300*time.Millisecond
	})
	inRelay, inKernel := g.session(), g.session()
	part := frame(fin|binaryMessage, noise(1, 16<<10), true)
	for stays := 0; stays < 50; stays++ { // and is not only on its way
		if inKernel.QueuedFor(0) == 0 {
			write(t, inKernel.client, part)
			stays = 0
		}
		<-time.After(time.Millisecond)
	}
	require.False(t, inKernel.BlockedFrom(0))
	for !inRelay.BlockedFrom(0) {
		_ = fill(t, inRelay.client)
	}
	<-time.After(idle + idle/2)
	for _, s := range []*session{inRelay, inKernel} {
		require.False(t, s.Done())
		require.Zero(t, s.ends.Load())
		go func() { _, _ = io.Copy(io.Discard, s.worker) }()
	}
	for _, s := range []*session{inRelay, inKernel} {
		require.Equal(t, relay.ReasonIdle, s.ended().Reason)
	}
}

// chat sends a message now and then.
func chat(c net.Conn, masked bool, pause time.Duration) (stop func()) {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if _, err := c.Write(frame(fin|text, []byte("x"), masked)); err != nil {
				return
			}
			<-time.After(pause)
		}
	}()
	return stop
}

// A session ends when it has run for as long as it may, however busy it is, with a close
// frame that says so, and the pool hears of it before.
func TestLongSessionsEnd(t *testing.T) {
	var told <-chan string
	g := newRig(t, func(o *relay.Options) {
		o.Ping, o.Longest, o.Linger = 0, 500*time.Millisecond, 300*time.Millisecond
		reasons := make(chan string, 10)
		o.Foretell = func(_ []*relay.Session, reason string) { reasons <- reason }
		told = reasons
	})
	for range 2 { // the second begins when nobody looks any more
		s := g.session()
		write(t, s.client, frame(fin|text, []byte("x"), true))
		require.Equal(t, wsframe.AppendClose(nil, 1008, "a session may last 500ms (session.max_duration)", false), rest(t, s.client))
		require.Equal(t, relay.ReasonTooLong, receive(t, told))
		_ = s.client.Close()
		require.Equal(t, relay.ReasonTooLong, s.ended().Reason)
		require.Eventually(t, func() bool { return !g.relay.Limiting() }, patience, time.Millisecond)
	}
	require.Empty(t, told)
}
