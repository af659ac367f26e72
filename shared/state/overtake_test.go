package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// A slot is free for a moment beside a client who waits behind so many of a dead
// proxy's that one call does not end them all. Who comes in this moment, or loses
// the worker that it was given, does not get it before who is older (I4).
func TestNobodyOvertakesBehindTheTicketsOfADeadProxy(t *testing.T) {
	for name, step := range map[string]func(p *pool) state.Standing{
		"acquire": func(p *pool) state.Standing {
			r := request("younger")
			r.QueueLimit = 1000
			return p.ask(r)
		},
		"reassign": func(p *pool) state.Standing { return p.reassign("younger", "w2", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.proxyBeat("p1")
			for i := range 350 {
				r := request(fmt.Sprint("dead", i))
				r.Proxy, r.QueueLimit = "p2", 1000
				p.ask(r)
			}
			ask := func(session, version string) {
				r := request(session)
				r.QueueLimit, r.Demand = 1000, chromium(version)
				p.ask(r)
			}
			ask("older", "1.65")
			if name == "reassign" {
				w2 := worker("w2", 1)
				w2.Playwright = "1.64.0"
				p.join(w2)
				ask("younger", "")
				require.Equal(t, "w2", p.dump().hash["session:younger"]["worker"])
			}
			p.expire(p.k.Proxies(), "p2")
			p.join(worker("w1", 1))
			require.Empty(t, p.dump().set["held:w1"])

			require.Equal(t, state.Queued, step(p).Phase)
			p.check()
			calls := 0
			for next := time.Duration(0); next == 0; calls++ {
				_, next = p.reap(50)
			}
			require.Greater(t, calls, 1, "in batches")
			require.Equal(t, "assigned", p.dump().hash["session:older"]["state"])
			require.Equal(t, "queued", p.dump().hash["session:younger"]["state"])
		})
	}
}

// What a worker owes does not depend on the reaper alone: its own next heartbeat
// goes on with it. And one that has gone owes nothing.
func TestOneThatOwesASlotMayGoOnOrGo(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.MaxSkipped = 2 })
	p.proxyBeat("p1")
	for i := range 5 {
		r := request(fmt.Sprint("dead", i))
		r.Proxy = "p2"
		p.ask(r)
	}
	p.acquire("living")
	p.expire(p.k.Proxies(), "p2")
	p.join(worker("w1", 1))
	p.join(worker("w2", 1))
	require.Len(t, p.dump().set["owing"], 2)
	p.leave("w2", state.RetireDrain, false)
	p.check()
	p.beat("w1", 2)
	require.Equal(t, "assigned", p.dump().hash["session:living"]["state"])
	p.reap(50)
	require.Empty(t, p.dump().set["owing"])
}
