package state_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// withToken is a request that comes with a token of these limits.
func withToken(session, name string, sessions, waiting int) state.Request {
	r := request(session)
	r.Token, r.TokenSessions, r.TokenQueue = name, sessions, waiting
	return r
}

func TestTokenLimit(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	require.Equal(t, state.Assigned, p.ask(withToken("s1", "ci", 3, 0)).Phase)
	require.Equal(t, state.Assigned, p.ask(withToken("s2", "ci", 3, 0)).Phase)
	require.Equal(t, state.Queued, p.ask(withToken("s3", "ci", 3, 0)).Phase)

	for range 2 { // asked again, it is the same answer and the same event
		st := p.ask(withToken("s4", "ci", 3, 0))
		require.Equal(t, state.Rejected, st.Phase)
		require.Equal(t, "token_limit", st.Reason)
	}
	require.LessOrEqual(t, p.dump().ttl["session:s4"], int64(30_000), "thousands may be refused in a second")
	e := p.only(event.SessionRejected)
	require.Equal(t, event.ReasonTokenLimit, e.Session.Reason)
	require.Equal(t, "ci", e.Session.Token)

	require.Equal(t, state.Queued, p.ask(withToken("s5", "other", 3, 0)).Phase, "another token is not its business")
	require.Equal(t, state.Queued, p.acquire("s6").Phase, "nor who comes without any")
	require.Equal(t, state.Rejected, p.ask(withToken("s7", "ci", 2, 0)).Phase, "a limit that was lowered counts at once")

	p.cancel("s3") // which waited
	require.Equal(t, state.Queued, p.ask(withToken("s8", "ci", 3, 0)).Phase)
	require.Equal(t, "token_limit", p.ask(withToken("s9", "ci", 3, 0)).Reason)
	p.start("s1", "w1", 1)
	p.finish("w1", "s1")
	require.Equal(t, state.Queued, p.ask(withToken("s10", "ci", 3, 0)).Phase)
}

// A token cannot fill the queue, but where a slot is free its share of the queue does not matter.
func TestTokenQueue(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	for _, id := range []string{"s1", "s2"} {
		require.Equal(t, state.Assigned, p.ask(withToken(id, "ci", 0, 1)).Phase)
	}
	require.Equal(t, state.Queued, p.ask(withToken("s3", "ci", 0, 1)).Phase)
	st := p.ask(withToken("s4", "ci", 0, 1))
	require.Equal(t, []any{state.Rejected, "token_queue"}, []any{st.Phase, st.Reason})
	require.Equal(t, state.Queued, p.ask(withToken("s5", "other", 0, 1)).Phase)
	p.cancel("s1") // s3 gets its slot
	require.Equal(t, state.Assigned, p.ask(withToken("s3", "ci", 0, 1)).Phase)
	require.Equal(t, state.Queued, p.ask(withToken("s6", "ci", 0, 1)).Phase)
	require.Equal(t, "token_queue", p.ask(withToken("s7", "ci", 0, 1)).Reason)

	again := withToken("s8", "ci", 1, 1)
	again.Again = true
	require.Equal(t, state.Queued, p.ask(again).Phase, "who waited before a reset is not turned away for it")
}

// Whatever ends a session gives its place back (I3).
func TestTokenPlaceComesBack(t *testing.T) {
	assigned := func(p *pool) {
		p.proxyBeat("p1")
		p.join(worker("w1", 1))
		require.Equal(p.t, state.Assigned, p.ask(withToken("s1", "ci", 1, 0)).Phase)
	}
	active := func(p *pool) {
		assigned(p)
		require.Equal(p.t, state.StartOK, p.start("s1", "w1", 1))
	}
	for name, way := range map[string]func(p *pool){
		"cancel while it waits": func(p *pool) {
			p.ask(withToken("s1", "ci", 1, 0))
			p.cancel("s1")
		},
		"its proxy dies while it waits": func(p *pool) {
			p.proxyBeat("p1")
			p.ask(withToken("s1", "ci", 1, 0))
			p.expire(p.k.Proxies(), "p1")
			p.reap(10)
		},
		"a dispatch finds its proxy dead": func(p *pool) {
			p.proxyBeat("p1")
			p.ask(withToken("s1", "ci", 1, 0))
			p.expire(p.k.Proxies(), "p1")
			p.join(worker("w1", 1))
		},
		"cancel of an assigned one": func(p *pool) { assigned(p); p.cancel("s1") },
		"it does not start":         func(p *pool) { assigned(p); p.expire(p.k.Leases(), "s1"); p.reap(10) },
		"finish":                    func(p *pool) { active(p); p.finish("w1", "s1") },
		"its proxy tells": func(p *pool) {
			active(p)
			p.proxyBeat("p1", state.End{Session: "s1", Reason: "client_closed"})
		},
		"it misses in a heartbeat": func(p *pool) { active(p); p.beat("w1", 2) },
		"its worker leaves":        func(p *pool) { active(p); p.leave("w1", state.RetireDrain, true) },
		"its worker boots again": func(p *pool) {
			active(p)
			w := worker("w2", 1)
			w.Endpoint = "w1:3131"
			p.join(w)
		},
		"worker and proxy die": func(p *pool) {
			active(p)
			p.expire(p.k.Workers(), "w1")
			p.expire(p.k.Proxies(), "p1")
			p.reap(10)
			p.reap(10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			way(p)
			require.Empty(t, p.dump().under("token:"))
			require.NotEqual(t, state.Rejected, p.ask(withToken("s2", "ci", 1, 0)).Phase)
			require.Equal(t, "token_limit", p.ask(withToken("s3", "ci", 1, 0)).Reason)
		})
	}
}

// What a worker brings back into an empty Redis counts against the limit again.
func TestTokenAfterReset(t *testing.T) {
	p := newPool(t)
	p.joinAs(state.JoinRequest{Worker: worker("w1", 3), State: state.Ready, Number: 5, Rejoin: true,
		Sessions: []state.Serving{{Session: "s1", Proxy: "p1", Attempt: 1, Age: time.Second, Token: "ci", Nonce: "n"}}})
	require.Equal(t, "token_limit", p.ask(withToken("s2", "ci", 1, 0)).Reason)
	p.beat("w1", 6)
	require.Equal(t, state.Assigned, p.ask(withToken("s3", "ci", 1, 0)).Phase)
}

// Many proxies at once cannot get past a limit.
func TestTokenLimitIsAtomic(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 100))
	var wg sync.WaitGroup
	got := make(chan state.Phase, 200)
	for i := range 200 {
		wg.Go(func() {
			r := withToken(fmt.Sprint("s", i), "ci", 7, 0)
			r.Proxy = fmt.Sprint("p", i%5)
			st, err := p.Acquire(ctx, r)
			if err == nil {
				got <- st.Phase
			}
		})
	}
	wg.Wait()
	close(got)
	count := map[state.Phase]int{}
	for phase := range got {
		count[phase]++
	}
	require.Equal(t, map[state.Phase]int{state.Assigned: 7, state.Rejected: 193}, count)
}
