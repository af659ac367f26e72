package app

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

func TestSessionsThatEndedAreCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	for _, reason := range []string{relay.ReasonClient, relay.ReasonLost, relay.ReasonClient} {
		r := relay.Result{Reason: reason}
		r.BytesUp, r.BytesDown, r.MessagesUp, r.MessagesDown = 1000, 200, 30, 4
		m.sessionEnded(r)
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				got[f.GetName()+" "+l.GetName()+" "+l.GetValue()] = one.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, map[string]float64{
		"pwdist_proxy_bytes_total direction up": 3000, "pwdist_proxy_bytes_total direction down": 600,
		"pwdist_proxy_messages_total direction up": 90, "pwdist_proxy_messages_total direction down": 12,
		"pwdist_proxy_sessions_ended_total reason client_closed": 2, "pwdist_proxy_sessions_ended_total reason worker_lost": 1,
	}, got)
}
