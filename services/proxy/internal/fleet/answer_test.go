package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func snapshot(workers ...state.Worker) *Snapshot {
	s := &Snapshot{Workers: map[string]state.Member{}, Gone: map[string]Departed{}}
	for _, w := range workers {
		s.Workers[w.ID] = state.Member{Worker: w, State: state.Ready}
	}
	return s
}

func worker(id, playwright string, labels map[string]string, isolation ...string) state.Worker {
	return state.Worker{ID: id, Browser: "chromium", Playwright: playwright, Labels: labels, Isolation: isolation, Slots: 1}
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
