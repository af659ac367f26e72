package gate

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// A server that dies has closed a session and still says yes to the next one.
func TestNoSessionForADyingServer(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.doubt.lasts = patience
	r.assign("first", "second")
	client, server := r.open("first")
	server.closeWrite()
	client.takeEnd()
	next := r.dial(handshake("second", 1))
	dying, _ := r.accept()
	dying.send(yes)
	time.AfterFunc(50*time.Millisecond, func() { close(r.over) }) // time enough to let it in
	status, code, _ := next.answer()
	require.Equal(t, 503, status)
	require.Equal(t, string(refusal.BrowserDown), code)
	dying.takeEnd()
	require.Len(t, r.starts(), 1, "the pool may give the second one to another worker")
	_ = client.Close()
	require.Equal(t, browserCrashed, r.waitEnd().Reason)
}

// One that lives on takes it in after a moment.
func TestASessionForAServerThatClosedOne(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("first", "second")
	client, server := r.open("first")
	server.closeWrite()
	client.takeEnd()
	_ = client.Close()
	again, server := r.open("second")
	require.Len(t, r.starts(), 2)
	_, _ = again.Close(), server.Close()
	r.waitEnd()
	r.waitEnd()
}

// What a client ends says nothing about the server.
func TestNoDoubtAfterAClient(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("first")
	client, server := r.open("first")
	_ = client.Close()
	server.takeEnd()
	_ = server.Close()
	require.Equal(t, clientClosed, r.waitEnd().Reason)
	require.Zero(t, r.doubt.since.Load())
}

func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := doubt{lasts: doubtTime}
		over := make(chan struct{})
		waited := func() time.Duration {
			began := time.Now()
			d.wait(t.Context(), over)
			return time.Since(began)
		}
		require.Zero(t, waited(), "nothing has happened")
		d.arise()
		<-time.After(200 * time.Millisecond)
		go func() {
			<-time.After(100 * time.Millisecond)
			d.arise()
		}()
		require.Equal(t, doubtTime-200*time.Millisecond, waited(), "another one makes it no longer")
		require.Equal(t, 300*time.Millisecond, waited(), "but lasts for who comes then")
		require.Zero(t, waited())
		d.arise()
		d.since.Add(int64(time.Hour)) // the clock is set back
		require.Equal(t, doubtTime, waited())
		close(over)
		require.Zero(t, waited())
	})
}
