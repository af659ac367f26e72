package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func snapshot(workers ...state.Worker) *Snapshot {
	members := map[string]state.Member{}
	for _, w := range workers {
		members[w.ID] = state.Member{Worker: w, State: state.Ready, FlavourKey: w.Flavour().Key()}
	}
	return newSnapshot(1, members, map[string]Departed{})
}

func worker(id, playwright string, labels map[string]string, isolation ...string) state.Worker {
	return state.Worker{ID: id, Browser: "chromium", Playwright: playwright, Labels: labels, Isolation: isolation, Slots: 1}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	fox, kit := worker("w2", "1.56.1", nil), worker("w3", "1.56.1", nil)
	fox.Browser, kit.Browser = "firefox", "webkit"
	chromium := state.Demand{Browser: "chromium", Playwright: "1.56"}
	for want, s := range map[string]*Snapshot{
		"":                                       snapshot(fox, worker("w1", "1.55.0", nil)),
		"This pool has no worker at the moment.": snapshot(),
		"This pool has no chromium worker at the moment; it has firefox; webkit.": snapshot(kit, fox),
	} {
		require.Equal(t, want, s.Absent(chromium))
	}
}

func TestHopeless(t *testing.T) {
	t.Parallel()
	old := worker("w1", "1.55.0", nil, "context")
	young := worker("w2", "1.56.1", map[string]string{"gpu": "1", "zone": "a"}, "context", "browser")
	tests := map[string]struct {
		workers []state.Worker
		demand  state.Demand
		code    refusal.Code // empty: worth waiting for
		detail  string
	}{
		"empty fleet":      {demand: state.Demand{Browser: "chromium"}},
		"another browser":  {workers: []state.Worker{old}, demand: state.Demand{Browser: "firefox", Playwright: "1.2"}},
		"fits":             {workers: []state.Worker{old}, demand: state.Demand{Browser: "chromium", Playwright: "1.55"}},
		"any version fits": {workers: []state.Worker{old}, demand: state.Demand{Browser: "chromium"}},
		"one of two fits":  {workers: []state.Worker{old, young}, demand: state.Demand{Browser: "chromium", Playwright: "1.56", Isolation: "browser"}},
		"labels fit":       {workers: []state.Worker{young}, demand: state.Demand{Browser: "chromium", Require: map[string]string{"gpu": "1"}}},
		"version": {
			workers: []state.Worker{young, old, worker("w3", "1.55.2", nil)},
			demand:  state.Demand{Browser: "chromium", Playwright: "1.57"},
			code:    refusal.NoVersion, detail: "Your client speaks Playwright 1.57; this pool has chromium for Playwright 1.55; 1.56.",
		},
		"version before all else": {
			workers: []state.Worker{old},
			demand:  state.Demand{Browser: "chromium", Playwright: "1.57", Isolation: "browser", Require: map[string]string{"gpu": "1"}},
			code:    refusal.NoVersion, detail: "Your client speaks Playwright 1.57; this pool has chromium for Playwright 1.55.",
		},
		"isolation": {
			workers: []state.Worker{old},
			demand:  state.Demand{Browser: "chromium", Playwright: "1.55", Isolation: "browser", Require: map[string]string{"gpu": "1"}},
			code:    refusal.NoIsolation, detail: "isolation=browser was asked for; this pool's chromium workers offer context.",
		},
		"isolation of another version": {
			workers: []state.Worker{old, young},
			demand:  state.Demand{Browser: "chromium", Playwright: "1.55", Isolation: "browser"},
			code:    refusal.NoIsolation, detail: "isolation=browser was asked for; this pool's chromium workers offer context; context, browser.",
		},
		"labels": {
			workers: []state.Worker{old, young},
			demand:  state.Demand{Browser: "chromium", Require: map[string]string{"zone": "b", "gpu": "1"}},
			code:    refusal.NoLabels, detail: "Required: gpu=1, zone=b; this pool's chromium workers have: gpu=1, zone=a; no labels.",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			no, hopeless := snapshot(tt.workers...).Hopeless(tt.demand, time.Unix(1000, 0))
			require.Equal(t, tt.code != "", hopeless)
			require.Equal(t, tt.code, no.Code)
			require.Equal(t, tt.detail, no.Detail)
		})
	}
}

// crowd is a fleet of so many workers of two flavours.
func crowd(n int) *Snapshot {
	var workers []state.Worker
	for i := range n {
		workers = append(workers, worker(fmt.Sprint("w", i), fmt.Sprintf("1.%d.0", 55+i%2), map[string]string{"zone": "a"}, "context"))
	}
	return snapshot(workers...)
}

// The allocations stand for the work: a key costs several of them.
//
//nolint:paralleltest // it counts the allocations of the process
func TestHopelessCostsByFlavour(t *testing.T) {
	cost := func(s *Snapshot) float64 {
		return testing.AllocsPerRun(100, func() {
			_, hopeless := s.Hopeless(state.Demand{Browser: "chromium", Playwright: "1.57"}, time.Unix(1000, 0))
			require.True(t, hopeless)
		})
	}
	few, many := cost(crowd(2)), cost(crowd(1000))
	require.Less(t, many, 2*few, "%v allocations with 2 workers, %v with 1000", few, many)
}

// Most of what a change costs is for the map of the workers; their flavours cost
// nothing that grows with them.
//
//nolint:paralleltest // it counts the allocations of the process
func TestPublishCostsByFlavour(t *testing.T) {
	cost := func(s *Snapshot) float64 {
		f := New(nil, nil, keys.Pool{}, zap.NewNop())
		return testing.AllocsPerRun(100, func() { f.publish(s, s.Workers, 2) })
	}
	few, many := cost(crowd(2)), cost(crowd(1000))
	require.Less(t, many, 2*few, "%v allocations with 2 workers, %v with 1000", few, many)
}

func BenchmarkHopeless(b *testing.B) {
	for _, n := range []int{2, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				s.Hopeless(state.Demand{Browser: "chromium", Playwright: "1.57"}, time.Unix(1000, 0))
			}
		})
	}
}

func TestWhatHasGoneCountsForAMinute(t *testing.T) {
	t.Parallel()
	gone := time.Unix(1000, 0)
	s := snapshot(worker("w1", "1.55.0", nil))
	f := worker("w2", "1.56.0", nil).Flavour()
	s.Gone[f.Key()] = Departed{Flavour: f, Since: gone}

	d := state.Demand{Browser: "chromium", Playwright: "1.56"}
	_, hopeless := s.Hopeless(d, gone.Add(memory-time.Millisecond))
	require.False(t, hopeless)
	_, hopeless = s.Hopeless(d, gone.Add(memory))
	require.True(t, hopeless)
	d.Playwright = "1.57"
	_, hopeless = s.Hopeless(d, gone)
	require.True(t, hopeless, "what has gone did not fit either")
}
