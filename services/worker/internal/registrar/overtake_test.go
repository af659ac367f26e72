package registrar_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/registrar"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/testkit"
)

// loseLeave has the first leave run and its reply get lost.
func (m *member) loseLeave() {
	var lost atomic.Bool
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "leave" && lost.CompareAndSwap(false, true) {
				return errors.New("the reply was lost")
			}
			return nil
		}
	})
	// Should it go on joining, it ends with the test.
	m.t.Cleanup(func() { m.pool.Do("DEL", m.pool.Keys.Left(worker)) })
}

func TestALeaveWhoseReplyIsLostIsALeave(t *testing.T) {
	t.Run("at the end of its lifetime", func(t *testing.T) {
		m := newMember(t, func(o *registrar.Options) { o.Worker.Lifetime = 1 }).joined()
		m.loseLeave()
		m.open("s")
		m.close("s", "client_closed")
		require.NoError(t, m.done())
		testkit.Await(t, "it says so", func() bool { return m.why() == "it has left the pool" })
		m.stop(testkit.Patience)
		m.leftOnce("lifetime")
	})
	t.Run("in a drain", func(t *testing.T) {
		m := newMember(t, func(*registrar.Options) {}).joined()
		m.loseLeave()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			m.stop(testkit.Patience)
		}()
		require.NoError(t, m.done())
		<-stopped
		m.leftOnce("drain")
	})
}

// leftOnce checks that the pool was told of one life of the worker.
func (m *member) leftOnce(reason string) {
	m.t.Helper()
	require.Equal(m.t, 1, m.count("worker.joined"))
	require.Equal(m.t, 1, m.count("worker.left "+reason))
	require.Equal(m.t, 2, m.store.calls("join"), "the one that it began with, and the one that told it")
	require.Empty(m.t, m.state())
}

// endsUnder has the pool remember the end of the worker under a number.
func (m *member) endsUnder(number int) {
	m.pool.Do("SET", m.pool.Keys.Left(worker), fmt.Sprint(number), "EX", "120")
}

func TestAJoinThatWasOvertakenIsMadeUnderAHigherNumber(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour })
	m.endsUnder(50)
	m.joined()
	require.Equal(t, "51", m.number())
	require.Equal(t, 2, m.store.calls("join"))
}

// However high the pool counts, a worker does not join at the speed of Redis.
func TestAWorkerThatIsOvertakenAgainWaits(t *testing.T) {
	var beats atomic.Int64
	m := newMember(t, func(o *registrar.Options) {
		o.Heartbeat = 50 * time.Millisecond
		o.Beating = func() { beats.Add(1) }
	})
	m.endsUnder(50)
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "join" {
				m.endsUnder(50 * (m.store.calls("join") + 1))
			}
			return nil
		}
	})
	t.Cleanup(func() { m.store.set(func() { m.store.after = nil }) })
	before := beats.Load()
	m.up()
	const why = "the pool goes on hearing of this worker under numbers that are not its own"
	testkit.Await(t, "it says so", func() bool { return m.why() == why })
	testkit.Await(t, "it tries again and again", func() bool { return m.store.calls("join") >= 10 })
	joins := m.store.calls("join")
	require.LessOrEqual(t, int64(joins), beats.Load()-before+3, "one with each heartbeat")
	require.Equal(t, why, m.why())
	m.store.set(func() { m.store.after = nil })
	m.joined()
}
