package load_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

const (
	// turnsPerRound is how often each side has its turn in one round.
	turnsPerRound = 4
	// sessionsPerSecond is how many sessions a turn has for each second that a
	// round may take: about what two processors do.
	sessionsPerSecond = 10
)

// side is a number of clients and how its turns went.
type side struct {
	Clients int
	Failed  []string
	Turns   []turn
}

// turn is a fixed number of sessions, from the first one's begin to the last one's end.
type turn struct {
	Seconds    float64
	Busy, Idle float64 // CPU-s of the machine
}

// benchSteady measures twice as many clients as there are slots, beside as many:
// nobody is refused, and no slot stands empty while somebody waits.
//
// Five browser sessions keep two processors busy on both sides, so what sessions/s
// compare there is what a session costs. That changes by a tenth and more within
// seconds, for both sides alike, so it takes many turns to see less than that, and
// the interval tells how much was seen. How long a slot is empty the log tells.
func benchSteady(t *testing.T) {
	r := newRig(t)
	sessions := int(sessionsPerSecond * roundTime(t).Seconds())
	sides := r.steady(t, sessions, turnsPerRound*rounds(t))
	var names []target
	var all []figures
	for _, s := range sides {
		if len(s.Failed) > 0 {
			t.Errorf("of the sessions of %d clients some failed: %q", s.Clients, s.Failed)
		}
		names = append(names, target{name: fmt.Sprintf("%d clients", s.Clients)})
		all = append(all, s.figures(sessions))
	}
	table("Steady: clients on 5 slots of a real worker, session after session", names, all,
		row{"sessions/s", "%.2f", "≥ 0.97"}, row{"refused", "%.0f", "nobody"},
		row{"CPU of the machine, ms per session", "%.0f", ""}, row{"idle, %", "%.1f", ""})
	low, high := interval(seconds(sides[1].Turns), seconds(sides[0].Turns))
	fmt.Printf("The ratio of sessions/s is between %.2f and %.2f (95 %% bootstrap interval, %d turns of %d sessions each).\n",
		low, high, len(sides[0].Turns), sessions)
	waited, found := r.handedOver(t)
	fmt.Printf("A slot that somebody waited for served again after %.1f ms, a free one after %.1f ms (medians).\n\n", waited, found)
}

// steady has twice as many clients as slots, and as many, take so many turns of so
// many sessions.
func (r *rig) steady(tb testing.TB, sessions, turns int) (sides []side) {
	tb.Helper()
	r.realWorker(findChromium(tb))
	node(tb, map[string]any{
		"what": "steady", "endpoint": "ws://" + r.proxy().address, "sides": []int{2 * slots, slots},
		"sessions": sessions, "turns": turns,
	}, &sides)
	return sides
}

// figures has medians of the turns, and sums where a turn is too short.
func (s side) figures(sessions int) figures {
	var busy, idle float64
	for _, t := range s.Turns {
		busy, idle = busy+t.Busy, idle+t.Idle
	}
	return figures{
		"sessions/s": float64(sessions) / median(seconds(s.Turns)), "refused": float64(len(s.Failed)),
		"CPU of the machine, ms per session": 1000 * busy / float64(sessions*len(s.Turns)), "idle, %": 100 * idle / (busy + idle),
	}
}

func seconds(turns []turn) []float64 {
	all := make([]float64, len(turns))
	for i, t := range turns {
		all[i] = t.Seconds
	}
	return all
}

// handedOver reads from the log how long it took from a session's end to the start
// of the one that had waited for its slot, and from the assignment of a slot that
// was free to the start, in milliseconds.
func (r *rig) handedOver(tb testing.TB) (waited, found float64) {
	tb.Helper()
	var afterEnd, afterAssignment []float64
	queued := map[string]bool{}
	var ended time.Time // the last session, when its slot became free
	empty := map[string]time.Time{}
	for _, e := range r.events() {
		switch e.Type {
		case event.SessionQueued:
			queued[e.Session.ID] = true
		case event.SessionEnded:
			ended = e.Time()
		case event.SessionAssigned:
			// Whoever waits is given a slot in the same call that reports an end.
			empty[e.Session.ID] = e.Time()
			if queued[e.Session.ID] {
				empty[e.Session.ID] = ended
			}
		case event.SessionStarted:
			took := 1000 * e.Time().Sub(empty[e.Session.ID]).Seconds()
			if queued[e.Session.ID] {
				afterEnd = append(afterEnd, took)
			} else {
				afterAssignment = append(afterAssignment, took)
			}
		}
	}
	require.NotEmpty(tb, afterEnd, "nobody has waited")
	require.NotEmpty(tb, afterAssignment)
	return median(afterEnd), median(afterAssignment)
}
