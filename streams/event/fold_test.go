package event

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// log makes events of a short notation: each line is type, subject, n and the
// rest of the fields.
type log struct {
	t      *testing.T
	events []Event
}

func (l *log) add(typ Type, subject string, n int, more ...string) Event {
	l.t.Helper()
	at := 1000 * (len(l.events) + 1)
	fields := map[string]string{"v": "1", "type": string(typ), "id": fmt.Sprintf("%s:%s:%d", subject, typ, n),
		"at": fmt.Sprint(at), "pool": "default"}
	switch typ.Family() {
	case "worker":
		fields["worker"], fields["number"] = subject, fmt.Sprint(n)
	case "session":
		fields["session"], fields["attempt"] = subject, fmt.Sprint(n)
	}
	for i := 0; i < len(more); i += 2 {
		fields[more[i]] = more[i+1]
	}
	e, err := Parse(fmt.Sprintf("%d-0", at), fields)
	require.NoError(l.t, err)
	l.events = append(l.events, e)
	return e
}

func fold(events ...Event) *State {
	var s State
	for _, e := range events {
		s.Apply(e)
	}
	return &s
}

func (s *State) summary() string {
	out := ""
	for _, id := range sortedKeys(s.Workers) {
		out += fmt.Sprintf("%s=%s(%d) ", id, s.Workers[id].State, s.Loads()[id])
	}
	for _, id := range sortedKeys(s.Sessions) {
		n := s.Sessions[id]
		out += fmt.Sprintf("%s=%s@%s ", id, n.State, n.Worker)
	}
	return out
}

func TestFoldWalk(t *testing.T) {
	l := &log{t: t}
	s := &State{}
	for _, step := range []struct {
		event Event
		want  string
	}{
		{l.add(PoolReset, "default", 1, "epoch", "e1"), ""},
		{l.add(WorkerJoined, "w1", 1, "slots", "2"), "w1=ready(0) "},
		{l.add(WorkerJoined, "w2", 1, "slots", "2", "state", "unhealthy"), "w1=ready(0) w2=unhealthy(0) "},
		{l.add(WorkerReady, "w2", 2), "w1=ready(0) w2=ready(0) "},
		{l.add(SessionAssigned, "s1", 1, "worker", "w1"), "w1=ready(1) w2=ready(0) s1=assigned@w1 "},
		{l.add(SessionStarted, "s1", 1, "worker", "w1"), "w1=ready(1) w2=ready(0) s1=active@w1 "},
		{l.add(SessionQueued, "s2", 0, "class", "c", "seq", "7"), "w1=ready(1) w2=ready(0) s1=active@w1 s2=queued@ "},
		{l.add(SessionAssigned, "s2", 1, "worker", "w2"), "w1=ready(1) w2=ready(1) s1=active@w1 s2=assigned@w2 "},
		{l.add(WorkerSuspect, "w2", 3), "w1=ready(1) w2=suspect(1) s1=active@w1 s2=assigned@w2 "},
		{l.add(SessionQueued, "s2", 1, "class", "c", "seq", "7"), "w1=ready(1) w2=suspect(0) s1=active@w1 s2=queued@ "},
		{l.add(SessionAssigned, "s2", 2, "worker", "w1"), "w1=ready(2) w2=suspect(0) s1=active@w1 s2=assigned@w1 "},
		{l.add(SessionAssigned, "s2", 3, "worker", "w2"), "w1=ready(1) w2=suspect(1) s1=active@w1 s2=assigned@w2 "},
		{l.add(WorkerUnhealthy, "w2", 4), "w1=ready(1) w2=unhealthy(1) s1=active@w1 s2=assigned@w2 "},
		{l.add(SessionEnded, "s2", 3, "reason", "dial_failed"), "w1=ready(1) w2=unhealthy(0) s1=active@w1 "},
		{l.add(WorkerLeft, "w2", 5), "w1=ready(1) s1=active@w1 "},
		{l.add(WorkerRetiring, "w1", 5), "w1=retiring(1) s1=active@w1 "},
		{l.add(WorkerLost, "w1", 6), "s1=active@w1 "},
		{l.add(SessionQueued, "s3", 0, "seq", "8"), "s1=active@w1 s3=queued@ "},
		{l.add(SessionRejected, "s3", 0, "reason", "wait_timeout"), "s1=active@w1 "},
		{l.add(PoolResumed, "default", 2, "epoch", "e1", "gap_ms", "9000"), "s1=active@w1 "},
		{l.add(PoolReset, "default", 3, "epoch", "e2"), ""},
		{l.add(SessionStarted, "s1", 1, "worker", "w9"), "s1=active@w9 "},
	} {
		require.True(t, s.Apply(step.event), "%s is news", step.event.ID)
		require.Equal(t, step.want, s.summary(), "after %s", step.event.ID)
		before := s.Clone()
		require.False(t, s.Apply(step.event), "%s is no news the second time", step.event.ID)
		require.Equal(t, before, s.Clone())
	}
	require.Equal(t, "e2", s.Epoch)
	require.Equal(t, "default", s.Pool)
	require.Equal(t, l.events[len(l.events)-1].StreamID, s.Position)
	require.Equal(t, map[string]int{"w9": 1}, s.Loads(), "a slot of a worker that is not there still counts")
	require.Equal(t, []string{"s1"}, s.Held("w9"))
}

func TestFoldEndedIsFinal(t *testing.T) {
	l := &log{t: t}
	l.add(SessionAssigned, "s1", 1, "worker", "w1")
	l.add(SessionEnded, "s1", 1, "reason", "client_closed")
	s := fold(l.events...)
	require.False(t, s.Apply(l.add(SessionStarted, "s1", 1, "worker", "w1")), "a start that was recorded too late")
	require.False(t, s.Apply(l.add(SessionEnded, "s1", 2, "reason", "worker_lost")))
	require.Empty(t, s.Sessions)
}

func TestFoldKeepsFacts(t *testing.T) {
	l := &log{t: t}
	l.add(WorkerJoined, "w1", 1, "slots", "5", "endpoint", "h:1", "browser", "chromium", "labels", `{"a":"b"}`)
	l.add(WorkerUnhealthy, "w1", 2, "browser", "chromium", "reason", "browser_crashed")
	l.add(WorkerReady, "w1", 3, "browser", "chromium", "browser_version", "141")
	l.add(SessionQueued, "s1", 0, "class", "c1", "seq", "4", "name", "n")
	l.add(SessionAssigned, "s1", 1, "worker", "w1", "queued_ms", "20", "name", "n")
	l.add(SessionStarted, "s1", 1, "worker", "w1", "connect_ms", "3", "name", "n")
	s := fold(l.events...)

	w := s.Workers["w1"]
	require.Equal(t, Worker{ID: "w1", Endpoint: "h:1", State: Ready, Browser: "chromium", BrowserVersion: "141",
		Slots: 5, Labels: map[string]string{"a": "b"}, Number: 3}, w.Worker)
	require.Equal(t, ms(3000), w.Since)

	n := s.Sessions["s1"]
	require.Equal(t, "c1", n.Class)
	require.EqualValues(t, 4, n.Seq)
	require.EqualValues(t, 20, n.Queued.Milliseconds())
	require.EqualValues(t, 3, n.Connect.Milliseconds())
	require.True(t, n.Started)
	require.Equal(t, ms(6000), n.Since)
}

func TestFoldFromSnapshot(t *testing.T) {
	l := &log{t: t}
	l.add(WorkerJoined, "w1", 1)
	l.add(SessionQueued, "s1", 0, "seq", "1")
	l.add(SessionAssigned, "s1", 1, "worker", "w1")
	l.add(SessionStarted, "s1", 1, "worker", "w1")
	l.add(SessionEnded, "s1", 1)
	for cut := range l.events {
		s := fold(l.events[:cut]...).Clone()
		for _, e := range l.events[cut:] {
			s.Apply(e)
		}
		require.Equal(t, fold(l.events...).Clone(), s.Clone())
	}
}

func TestFoldIgnoresWhatItDoesNotKnow(t *testing.T) {
	l := &log{t: t}
	l.add(WorkerJoined, "w1", 1)
	l.add(SessionStarted, "s1", 1, "worker", "w1")
	s := fold(l.events...)
	was := s.summary()
	for _, typ := range []Type{"pool.moved", "worker.dancing", "session.paused", "proxy.joined"} {
		e := l.add(typ, "s1", 9)
		require.False(t, s.Apply(e), string(typ))
		require.Equal(t, was, s.summary())
		require.Equal(t, e.StreamID, s.Position)
	}
}

func TestWaitingFollowsTheQueue(t *testing.T) {
	l := &log{t: t}
	l.add(SessionQueued, "s1", 0, "seq", "10")
	l.add(SessionQueued, "s2", 0, "seq", "9")
	l.add(SessionQueued, "s3", 0, "seq", "100")
	l.add(SessionStarted, "s4", 1, "worker", "w1")
	require.Equal(t, []string{"s2", "s1", "s3"}, fold(l.events...).Waiting())
}

func TestWindowForgetsTheOldest(t *testing.T) {
	w := NewWindow(2)
	require.True(t, w.Add("a"))
	require.True(t, w.Add("b"))
	require.False(t, w.Add("a"))
	require.True(t, w.Add("c"))
	require.False(t, w.Has("a"))
	require.True(t, w.Has("b"))
	require.True(t, w.Has("c"))
	require.True(t, w.Add("a"))
	require.False(t, w.Has("b"))
	require.True(t, NewWindow(0).Add("x"))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
