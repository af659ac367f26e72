package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// A proxy that was taken for dead is told so by its next heartbeat, whatever came
// before that: another client of its own, or a worker that joins again with one
// of its sessions. Else nobody would see to the clients who waited with it.
func TestALateProxyIsToldSo(t *testing.T) {
	for name, word := range map[string]func(p *pool){
		"nothing else":   func(*pool) {},
		"a client comes": func(p *pool) { p.acquire("s3") },
		"a worker joins again": func(p *pool) {
			p.joinAs(state.JoinRequest{Worker: worker("w2", 1), State: state.Ready, Number: 1, Rejoin: true, Sessions: []state.Serving{serving("s4", 1)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 1))
			p.serve("s1", "w1")
			p.acquire("s2")
			p.proxyBeat("p1")
			require.False(t, p.proxyBeat("p1").New)
			p.expire(p.k.Proxies(), "p1")
			p.reapAll(10)
			require.Equal(t, "rejected", p.dump().hash["session:s2"]["state"])
			word(p)
			require.True(t, p.proxyBeat("p1").New)
			require.False(t, p.proxyBeat("p1").New, "once")
		})
	}
}
