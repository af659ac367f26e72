package state_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestSmoke(t *testing.T) {
	p := newPool(t)
	ctx := context.Background()
	pr, err := p.ProxyHeartbeat(ctx, "p1")
	require.NoError(t, err)
	t.Log(pr)
	j, err := p.Join(ctx, state.JoinRequest{Worker: state.Worker{ID: "w1", Endpoint: "h:1", Browser: "chromium", BrowserVersion: "1.2", Playwright: "1.65.1", Isolation: []string{"context"}, Slots: 1, Lifetime: 10}, State: state.Ready, Number: 1})
	require.NoError(t, err)
	t.Log(j)
	req := func(id string) state.Request {
		return state.Request{Session: id, Proxy: "p1", Demand: state.Demand{Browser: "chromium", Playwright: "1.65"}, Name: "n", Labels: map[string]string{"a": "b"}, QueueLimit: 10}
	}
	st, err := p.Acquire(ctx, req("s1"))
	require.NoError(t, err)
	t.Log(st)
	st, err = p.Acquire(ctx, req("s2"))
	require.NoError(t, err)
	t.Log(st)
	a, err := p.Start(ctx, "s1", "w1", 1, "n1", 1)
	require.NoError(t, err)
	t.Log(a)
	hb, err := p.Heartbeat(ctx, state.Beat{Worker: "w1", Number: 2, State: state.Ready, Serving: []string{"s1"}, Missing: "worker_closed"})
	require.NoError(t, err)
	t.Log(hb)
	require.NoError(t, p.Finish(ctx, state.SideWorker, "w1", state.End{Session: "s1", Reason: "client_closed", Counts: state.Counts{BytesUp: 10}}))
	st, err = p.Acquire(ctx, req("s2"))
	require.NoError(t, err)
	t.Log(st)
	st, err = p.Reassign(ctx, "s2", "w1", 1)
	require.NoError(t, err)
	t.Log(st)
	ph, err := p.Cancel(ctx, "s2", "p1", "cancelled")
	require.NoError(t, err)
	t.Log(ph)
	rr, err := p.Retire(ctx, "w1", "lifetime", 3)
	require.NoError(t, err)
	t.Log(rr)
	h, err := p.Leave(ctx, "w1", "lifetime", 3, false)
	require.NoError(t, err)
	t.Log(h)
	n, d, err := p.Reap(ctx, 10)
	require.NoError(t, err)
	t.Log(n, d)
	evs, err := p.c.Do(ctx, p.c.B().Xrange().Key(p.k.Events()).Start("-").End("+").Build()).AsXRange()
	require.NoError(t, err)
	for _, e := range evs {
		t.Log(e.FieldValues)
	}
}
