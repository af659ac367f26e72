package state_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// What the scripts keep of a session that was placed counts only as long as its
// record says the same.
func TestPlacedSessionWhoseRecordChanged(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 4))
	r := request("s1")
	r.Name = "before"
	st := p.ask(r)
	record, err := p.do("GET", p.k.Session("s1")).ToString()
	require.NoError(t, err)
	require.NoError(t, p.do("SET", p.k.Session("s1"), strings.Replace(record, "\nbefore\n", "\nafter\n", 1)).Error())
	p.types()
	require.Equal(t, state.StartOK, p.start("s1", "w1", st.Grant.Attempt))
	require.Equal(t, "after", p.only(event.SessionStarted).Session.Name)
}

// Two records may say the same; whose they are is in their keys.
func TestPlacedSessionsOfOneRecord(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 4))
	st := p.acquire("s1")
	p.acquire("s2")
	record, err := p.do("GET", p.k.Session("s1")).ToString()
	require.NoError(t, err)
	require.NoError(t, p.do("SET", p.k.Session("s2"), record).Error())
	p.types()
	require.Equal(t, state.StartOK, p.start("s2", "w1", st.Grant.Attempt))
	require.Equal(t, "s2", p.only(event.SessionStarted).Session.ID)
	require.Equal(t, state.StartOK, p.start("s1", "w1", st.Grant.Attempt))
	require.Equal(t, "s1", p.only(event.SessionStarted).Session.ID)
}

// Where the worker of a placed session is, is not in the session's record.
func TestPlacedSessionWhoseWorkerMoved(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 4))
	p.acquire("s1")
	require.NoError(t, p.do("HSET", p.k.Worker("w1"), "endpoint", "elsewhere:1").Error())
	require.Equal(t, "elsewhere:1", p.acquire("s1").Grant.Endpoint)
	p.forget() // such a worker there is not
}

// Many more are placed before any of them starts than the scripts keep.
func TestManyPlacedSessionsStart(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 300))
	for i := range 300 {
		p.acquire(fmt.Sprint("s", i))
	}
	for i := range 300 {
		require.Equal(t, state.StartOK, p.start(fmt.Sprint("s", i), "w1", 1))
	}
}

// Proxies and workers of different settings have scripts of their own, which keep
// what they keep apart from each other, in one pool.
func TestScriptsOfTwoSettings(t *testing.T) {
	p := newPool(t)
	other, err := state.New(conn, p.k, options(func(o *state.Options) { o.EndedMax = 77 }), nil)
	require.NoError(t, err)
	require.NotEqual(t, p.Library(), other.Library())
	for i := range 2 {
		w := worker(fmt.Sprint("w", i), 1)
		w.Playwright = fmt.Sprintf("1.%d.0", 40+i)
		p.join(w)
	}
	r := request("")
	for i := range 20 {
		var grants []state.Grant
		// One asks for a version and takes the last slot of a flavour, the other for any.
		for k, demand := range []state.Demand{chromium(fmt.Sprintf("1.%d", 40+i%2)), chromium("")} {
			r.Session, r.Demand = fmt.Sprint("s", i, "-", k), demand
			st, err := []*state.Store{other, p.Store}[(i/2+k)%2].Acquire(ctx, r)
			require.NoError(t, err)
			require.Equal(t, state.Assigned, st.Phase, "nobody waits beside a free slot (I4)")
			grants = append(grants, st.Grant)
		}
		for k, g := range grants {
			require.Equal(t, state.StartOK, p.start(g.Session, g.Worker, g.Attempt))
			require.NoError(t, []*state.Store{p.Store, other}[(i+k)%2].Finish(ctx, state.SideWorker, g.Worker, state.End{Session: g.Session, Reason: "client_closed"}))
		}
		p.check()
	}
}

// A flavour whose free workers Redis lost is there again with the first of them.
func TestLeastOfLostWorkers(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 3))
	p.serve("s1", "w1")
	full := worker("full", 1)
	full.Playwright = "1.40.0"
	p.join(full)
	r := request("s0")
	r.Demand = chromium("1.40")
	require.Equal(t, "full", p.ask(r).Grant.Worker)
	flavours, err := p.do("ZRANGE", p.k.Least(), "0", "-1").AsStrSlice()
	require.NoError(t, err)
	require.Len(t, flavours, 1)
	require.NoError(t, p.do("DEL", p.k.Free(flavours[0])).Error())
	r.Session, r.Demand = "s2", chromium("")
	require.Equal(t, state.Queued, p.ask(r).Phase, "nobody is found")
	p.finish("w1", "s1")
	require.Equal(t, "w1", p.acquire("s2").Grant.Worker)
	r.Session = "s3"
	require.Equal(t, "w1", p.ask(r).Grant.Worker)
}

// What acquire raised, an end lowers again.
func TestLeastIsRaisedAndLowered(t *testing.T) {
	p := newPool(t)
	for i := range 2 {
		w := worker(fmt.Sprint("w", i), 10)
		w.Playwright = fmt.Sprintf("1.%d.0", 40+i)
		p.join(w)
	}
	r := request("")
	r.Demand = chromium("")
	var all []state.Grant
	for i := range 8 {
		r.Session = fmt.Sprint("s", i)
		g := p.ask(r).Grant
		require.Equal(t, state.StartOK, p.start(g.Session, g.Worker, g.Attempt))
		all = append(all, g)
	}
	for range 3 {
		for _, g := range all[:4] {
			p.finish(g.Worker, g.Session)
		}
		p.check()
		for i := range 4 {
			r.Session += "x"
			all[i] = p.ask(r).Grant
			require.Equal(t, state.StartOK, p.start(all[i].Session, all[i].Worker, all[i].Attempt))
		}
		p.check()
	}
}

// Ends are told line by line, whatever is in them.
func TestEndsHaveNoLines(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 3))
	for _, s := range []string{"s1", "s2", "s3"} {
		p.serve(s, "w1")
	}
	require.NoError(t, p.Finish(ctx, state.SideWorker, "w1", state.End{Session: "s1", Reason: "one\ntwo"}, state.End{Session: "s2", Reason: ""},
		state.End{Session: "s3\nthree", Reason: "four"}))
	require.Equal(t, "one two", p.acquire("s1").Reason)
	require.Equal(t, state.Ended, p.acquire("s2").Phase)
	require.Equal(t, state.Active, p.acquire("s3").Phase)
	p.forget() // there is no such reason
}
