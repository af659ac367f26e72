package harness

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// story makes a log of lines such as "joined w1 2" (slots) or "assigned s1 w1".
func story(lines ...string) []event.Event {
	var events []event.Event
	for i, text := range lines {
		f := append(strings.Fields(text), "", "")
		e := event.Event{ID: itoa(i), Pool: "default"}
		switch f[0] {
		case "joined":
			e.Type, e.Worker = event.WorkerJoined, &event.Worker{ID: f[1], Slots: int64(f[2][0] - '0')}
		case "left":
			e.Type, e.Worker = event.WorkerLeft, &event.Worker{ID: f[1]}
		default:
			e.Type, e.Session = event.Type("session."+f[0]), &event.Session{ID: f[1], Worker: f[2], Seq: int64(i)}
		}
		events = append(events, e)
	}
	return events
}

func TestCheckLogFindsWhatIsWrong(t *testing.T) {
	sound := []string{"joined w1 1", "assigned a w1", "queued b", "started a w1", "ended a w1", "assigned b w1", "ended b w1", "left w1"}
	require.Empty(t, CheckLog(story(sound...)))

	require.Empty(t, CheckLog(story("queued a", "joined w1 1", "started a w1", "ended a w1")), "Redis was emptied: the worker brings back what it serves")

	for name, test := range map[string]struct {
		log  []string
		want string
	}{
		"no end":           {sound[:6], "I2: session b: session.assigned is the last of it"},
		"two ends":         {append(sound[:5:5], "ended a w1"), "I2: session a ended twice"},
		"end of no one":    {[]string{"ended a w1"}, `session a: session.ended after ""`},
		"started untold":   {[]string{"joined w1 1", "queued a", "started a w1", "ended a w1"}, `session.started after "session.queued"`},
		"more than slots":  {[]string{"joined w1 1", "assigned a w1", "assigned b w1", "ended a w1", "ended b w1"}, "I1: worker w1 has 2 sessions and 1 slots"},
		"restarts by mail": {[]string{"joined w1 1", "assigned a w1", "ended a w1", "started a w1", "ended a w1"}, `session.started after "session.ended"`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, strings.Join(CheckLog(story(test.log...)), "\n"), test.want)
		})
	}

	twice := story("joined w1 1", "assigned a w1", "ended a w1")
	twice[2].ID = twice[1].ID
	require.Contains(t, strings.Join(CheckLog(twice), "\n"), "stands in the log twice")
}

func TestCheckPlacementFindsWhatIsWrong(t *testing.T) {
	start := []string{"joined w1 2", "joined w2 2", "assigned a w1", "assigned b w2"}
	require.Empty(t, CheckPlacement(story(start...)))
	require.Contains(t, strings.Join(CheckPlacement(story("joined w1 2", "joined w2 2", "assigned a w1", "assigned b w1")), "\n"),
		"I5: session b went to worker w1 with load 1, while w2 had 0")

	full := []string{"joined w1 1", "assigned a w1", "queued b", "queued c", "ended a w1"}
	require.Empty(t, CheckPlacement(story(append(full[:5:5], "assigned b w1")...)))
	require.Contains(t, strings.Join(CheckPlacement(story(append(full[:5:5], "assigned c w1")...)), "\n"),
		"I4: session c got a slot while b c waited first")
}

// The snapshot is of the real scripts' making; then something is changed behind
// their back, which it must show.
func TestSnapshotShowsWhereStateAndLogDisagree(t *testing.T) {
	p := NewEmpty(t, Options{})
	ctx := t.Context()
	_, err := p.Store.Join(ctx, state.JoinRequest{Number: 1, State: state.Ready, Worker: state.Worker{
		ID: "w1", Endpoint: "127.0.0.1:1", Browser: "chromium", BrowserVersion: "1", Playwright: "1.65.1", Slots: 1,
	}})
	require.NoError(t, err)
	for _, id := range []string{"a", "b"} {
		_, err := p.Store.Acquire(ctx, state.Request{Session: id, Proxy: "p1", Demand: state.Demand{Browser: "chromium"}, QueueLimit: 1})
		require.NoError(t, err)
	}
	s := p.Snapshot(t)
	require.Empty(t, s.FoldDifferences())
	require.False(t, s.settled())
	require.Equal(t, map[string]string{"w1": "ready"}, s.Workers)
	require.Equal(t, map[string][]string{"w1": {"a"}}, s.Held)
	require.Equal(t, []string{"b"}, s.Waiting)
	require.Equal(t, SessionRecord{State: "assigned", Worker: "w1", Attempt: "1"}, s.Sessions["a"])

	for _, id := range []string{"a", "b"} {
		_, err := p.Store.Cancel(ctx, id, "p1", "cancelled")
		require.NoError(t, err)
	}
	_, err = p.Store.Leave(ctx, "w1", "drain", 2, true)
	require.NoError(t, err)
	require.True(t, p.Snapshot(t).settled())

	leaked := p.Keys.Held("w1")
	require.NoError(t, p.Redis.do(ctx, "SADD", leaked, "a").Error())
	s = p.Snapshot(t)
	require.False(t, s.settled())
	require.Equal(t, []string{"held slots: the state says map[w1:[a]], the log map[]"}, s.FoldDifferences())
	require.NoError(t, p.Redis.do(ctx, "DEL", leaked).Error())

	p.Log.AwaitSession(t, "b", event.SessionEnded)
}
