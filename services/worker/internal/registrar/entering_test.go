package registrar_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/registrar"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/testkit"
)

// heeded is a context that tells when a stop begins to wait, which is after it
// was noted.
type heeded struct {
	context.Context
	waits func()
}

func (h heeded) Done() <-chan struct{} {
	h.waits()
	return h.Context.Done()
}

// stopWith stops it and calls waits once.
func (m *member) stopWith(waits func()) {
	m.t.Helper()
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	require.NoError(m.t, m.Stop(heeded{ctx, sync.OnceFunc(waits)}))
}

// entering has the pool take the worker, which hears of it, or gets the error,
// when the test releases the answer.
func (m *member) entering(err error) (release func()) {
	m.t.Helper()
	asked, answer := make(chan struct{}), make(chan struct{})
	ask, release := sync.OnceFunc(func() { close(asked) }), sync.OnceFunc(func() { close(answer) })
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "join" {
				ask()
				<-answer
				return err
			}
			return nil
		}
	})
	m.t.Cleanup(release)
	m.up()
	<-asked
	return release
}

func TestAStopDuringTheFirstJoinLeavesThePool(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {})
	m.stopWith(m.entering(nil))
	require.Equal(t, 1, m.count("worker.left drain"))
	require.Empty(t, m.state())
}

func TestAStopDuringTheFirstJoinWaitsForWhatThePoolGaveIt(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Drain = 200 * time.Millisecond })
	release := m.entering(nil)
	m.acquire("never started")
	m.stopWith(release)
	require.Equal(t, 1, m.count("worker.left drain"))
	require.Empty(t, m.state())
}

func TestAStopDuringAJoinThatFailsDoesNotWaitForRedis(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	m := newMember(t, func(o *registrar.Options) { o.Log, o.Heartbeat = zap.New(core), time.Hour })
	release := m.entering(errors.New("the reply was lost"))
	m.stopWith(release)
	require.Equal(t, 1, m.store.calls("join"))
	require.Equal(t, 1, logs.Len(), "%v", logs.All())
	require.Equal(t, "cannot reach the pool; sessions go on, and what ends is reported later", logs.All()[0].Message)
}

func TestAWorkerThatStopsJoinsNoMore(t *testing.T) {
	var beats atomic.Int64
	m := newMember(t, func(o *registrar.Options) {
		o.Heartbeat = 10 * time.Millisecond
		o.Beating = func() { beats.Add(1) }
	})
	m.stopWith(func() {
		m.up()
		before := beats.Load()
		testkit.Await(t, "it had the time to", func() bool { return beats.Load() >= before+2 })
	})
	require.Zero(t, m.store.calls("join"))
	require.Empty(t, m.pool.Events())
}
