package state_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestChanges(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.join(worker("w2", 1))
	_, rev, err := p.Fleet(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, rev)

	changes := func(after int64) ([]string, int64, bool) {
		t.Helper()
		ids, rev, ok, err := p.Changes(ctx, after)
		require.NoError(t, err)
		return ids, rev, ok
	}
	ids, now, ok := changes(rev)
	require.True(t, ok)
	require.Empty(t, ids)
	require.Equal(t, rev, now)

	p.acquire("s1")
	p.reassign("s1", "w1", 1)
	p.leave("w2", state.RetireDrain, true)
	p.join(worker("w3", 1))
	ids, now, ok = changes(rev)
	require.True(t, ok)
	require.Equal(t, []string{"w1", "w2", "w3"}, ids, "in the order of their last change")
	require.EqualValues(t, 5, now)
	members, err := p.Members(ctx, ids)
	require.NoError(t, err)
	require.Len(t, members, 2, "who has gone is missing")
	require.Equal(t, state.Suspect, members["w1"].State)
	require.Equal(t, worker("w1", 1).Flavour().Key(), members["w1"].FlavourKey)

	_, _, ok = changes(now + 1)
	require.False(t, ok, "a revision of another data set")
}

func TestChangesThatReachTooFarBack(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.head("rev", "20000")
	p.join(worker("w2", 1))
	p.proxyBeat("p1") // trims
	_, _, ok, err := p.Changes(ctx, 1)
	require.NoError(t, err)
	require.False(t, ok)
	ids, _, ok, err := p.Changes(ctx, 15000)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []string{"w2"}, ids)
	p.forget() // w1's change is not on record any more
}

func TestAnEmptyFleet(t *testing.T) {
	p := newPool(t)
	members, rev, err := p.Fleet(ctx)
	require.NoError(t, err)
	require.Empty(t, members)
	require.Zero(t, rev)
}

func TestFits(t *testing.T) {
	flavour := state.Flavour{Browser: "chromium", Playwright: "1.65", Isolation: []string{"context", "browser"}, Labels: map[string]string{"gpu": "1", "empty": ""}}
	for _, c := range []struct {
		name   string
		demand state.Demand
		fits   bool
	}{
		{"browser alone", state.Demand{Browser: "chromium"}, true},
		{"another browser", state.Demand{Browser: "firefox"}, false},
		{"its version", state.Demand{Browser: "chromium", Playwright: "1.65"}, true},
		{"another version", state.Demand{Browser: "chromium", Playwright: "1.6"}, false},
		{"an isolation it has", state.Demand{Browser: "chromium", Isolation: "browser"}, true},
		{"one it has not", state.Demand{Browser: "chromium", Isolation: "machine"}, false},
		{"a label it has", state.Demand{Browser: "chromium", Require: map[string]string{"gpu": "1"}}, true},
		{"with another value", state.Demand{Browser: "chromium", Require: map[string]string{"gpu": "2"}}, false},
		{"an empty label it has", state.Demand{Browser: "chromium", Require: map[string]string{"empty": ""}}, true},
		{"an empty label it has not", state.Demand{Browser: "chromium", Require: map[string]string{"none": ""}}, false},
		{"one of two labels", state.Demand{Browser: "chromium", Require: map[string]string{"gpu": "1", "none": "x"}}, false},
		{"all together", state.Demand{Browser: "chromium", Playwright: "1.65", Isolation: "context", Require: map[string]string{"gpu": "1"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.fits, flavour.Fits(c.demand), "in Go")
			p := newPool(t)
			w := worker("w1", 1)
			w.Isolation, w.Labels = flavour.Isolation, flavour.Labels
			p.join(w)
			r := request("s1")
			r.Demand = c.demand
			require.Equal(t, c.fits, p.ask(r).Phase == state.Assigned, "in the script")

			// The other way round: the demand is there first, with what fits it remembered.
			p = newPool(t)
			p.ask(r)
			p.join(w)
			require.Equal(t, c.fits, p.ask(r).Phase == state.Assigned, "in the script, the ticket first")
		})
	}
}

func TestAHeadThatNobodyKnowsIsAnErrorWithARemedy(t *testing.T) {
	p := newPool(t)
	require.NoError(t, p.do("SET", p.k.Head(), "another").Error())
	p.forget()
	_, _, err := p.Fleet(ctx)
	require.ErrorContains(t, err, "PWDIST_POOL")
	_, _, _, err = p.Changes(ctx, 0)
	require.ErrorContains(t, err, "docs/operations.md")
}

func TestACallWithoutRedisIsAnError(t *testing.T) {
	p := newPool(t)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := p.Acquire(gone, request("s1"))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, state.ErrSchema)
}

func TestParseNoticeRefuses(t *testing.T) {
	for name, fields := range map[string]map[string]string{
		"nothing":           {},
		"no session":        {"kind": "grant", "attempt": "1"},
		"an unknown kind":   {"kind": "party", "session": "s1"},
		"no number":         {"kind": "grant", "session": "s1"},
		"an attempt of one": {"kind": "grant", "session": "s1", "attempt": "one"},
	} {
		_, err := state.ParseNotice(fields)
		require.Error(t, err, name)
	}
}
