package state_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestCheckKnowsOnlyWhatMayStart(t *testing.T) {
	p := newPool(t)
	ctx := context.Background()
	check := func(session, worker string, attempt int) bool {
		t.Helper()
		ok, err := p.Check(ctx, session, worker, attempt)
		require.NoError(t, err)
		return ok
	}
	require.False(t, check("s1", "w1", 1), "nobody asked for it")

	_, err := p.ProxyHeartbeat(ctx, "p1", "")
	require.NoError(t, err)
	_, err = p.Join(ctx, state.JoinRequest{Worker: state.Worker{ID: "w1", Endpoint: "127.0.0.1:1", Browser: "chromium", Playwright: "1.65.1", Slots: 1}, State: state.Ready, Number: 1})
	require.NoError(t, err)
	st, err := p.Acquire(ctx, state.Request{Session: "s1", Proxy: "p1", Demand: state.Demand{Browser: "chromium"}, QueueLimit: 1})
	require.NoError(t, err)
	require.Equal(t, state.Assigned, st.Phase)

	require.True(t, check("s1", "w1", 1))
	require.True(t, check("s1", "w1", 1), "it reads only")
	require.False(t, check("s1", "w2", 1), "another worker")
	require.False(t, check("s1", "w1", 2), "another attempt")

	answer, err := p.Start(ctx, "s1", "w1", 1, "nonce", 1)
	require.NoError(t, err)
	require.Equal(t, state.StartOK, answer)
	require.False(t, check("s1", "w1", 1), "used")

	require.NoError(t, p.Finish(ctx, state.SideWorker, "w1", state.End{Session: "s1", Reason: "client_closed"}))
	require.False(t, check("s1", "w1", 1), "ended")
}
