package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/fleet"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// metrics are what a proxy counts. No label ever holds a session.
type metrics struct {
	started        prometheus.Counter
	ended          *prometheus.CounterVec
	refusals       *prometheus.CounterVec
	left           prometheus.Counter
	dialFailures   prometheus.Counter
	redisErrors    prometheus.Counter
	bytes          directions
	messages       directions
	connectSeconds prometheus.Histogram
	tokenSessions  *prometheus.CounterVec
	tokenRefusals  *prometheus.CounterVec
	tokenReloads   *prometheus.CounterVec
}

// directions are the two counters of what goes through sessions: looking them up
// by their label takes longer than counting.
type directions struct{ up, down prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "pwdist_proxy_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "pwdist_proxy_" + name, Help: help}, []string{label})
	}
	both := func(name, help string) directions {
		v := vec(name, help, "direction")
		return directions{up: v.WithLabelValues("up"), down: v.WithLabelValues("down")}
	}
	return &metrics{
		started:       counter("sessions_started_total", "Sessions that reached their worker."),
		ended:         vec("sessions_ended_total", "Sessions that ended, by reason as this proxy saw it.", "reason"),
		refusals:      vec("refusals_total", "Clients that were refused, by code.", "code"),
		left:          counter("clients_left_total", "Clients that left before they had a worker."),
		dialFailures:  counter("dial_failures_total", "Workers that could not be reached or did not accept."),
		redisErrors:   counter("redis_errors_total", "Calls to Redis that failed."),
		bytes:         both("bytes_total", "Bytes relayed in ended sessions; up is from client to browser."),
		messages:      both("messages_total", "WebSocket messages relayed in ended sessions; up is from client to browser."),
		tokenSessions: vec("token_sessions_started_total", "Sessions that reached their worker, by the name of their token.", "token"),
		tokenRefusals: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_proxy_token_refusals_total",
			Help: "Clients with a valid token that were refused, by its name and by code.",
		}, []string{"token", "code"}),
		tokenReloads: vec("token_reloads_total", "Times that changed tokens came into force (ok), or could not be read (failed).", "result"),
		connectSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "pwdist_proxy_connect_seconds",
			Help:                        "From a client's request to its worker's answer, waiting included.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
			NativeHistogramBucketFactor: 1.1,
		}),
	}
}

// sessionEnded counts a session that reached its worker.
func (m *metrics) sessionEnded(r relay.Result) {
	m.ended.WithLabelValues(r.Reason).Inc()
	m.bytes.up.Add(float64(r.BytesUp))
	m.bytes.down.Add(float64(r.BytesDown))
	m.messages.up.Add(float64(r.MessagesUp))
	m.messages.down.Add(float64(r.MessagesDown))
}

func (m *metrics) refused(c refusal.Code) { m.refusals.WithLabelValues(string(c)).Inc() }

// The names of tokens are labels: there are as many as the operator has made.
func (m *metrics) tokenStarted(name string) {
	if name != "" {
		m.tokenSessions.WithLabelValues(name).Inc()
	}
}

func (m *metrics) tokenRefused(name string, c refusal.Code) {
	if name != "" {
		m.tokenRefusals.WithLabelValues(name, string(c)).Inc()
	}
}

// tokensReloaded counts a reload, nil for one that failed.
func (m *metrics) tokensReloaded(now *tokens.Set) {
	if now == nil {
		m.tokenReloads.WithLabelValues("failed").Inc()
		return
	}
	m.tokenReloads.WithLabelValues("ok").Inc()
}

// gauges reads what is there at the moment of a scrape.
type gauges struct {
	proxy          *proxy
	sessions       *prometheus.Desc
	waiting        *prometheus.Desc
	workers, slots *prometheus.Desc
	fleetRevision  *prometheus.Desc
}

func newGauges(p *proxy) *gauges {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pwdist_proxy_"+name, help, labels, nil)
	}
	return &gauges{
		proxy:         p,
		sessions:      d("sessions", "Sessions that this proxy relays."),
		waiting:       d("waiting_clients", "Clients of this proxy that have no worker yet."),
		workers:       d("fleet_workers", "Workers of the pool as this proxy knows them.", "browser", "playwright", "state"),
		slots:         d("fleet_slots", "Slots of those workers.", "browser", "playwright", "state"),
		fleetRevision: d("fleet_revision", "Revision of the fleet that this proxy has read."),
	}
}

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.sessions, g.waiting, g.workers, g.slots, g.fleetRevision} {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	set(g.sessions, g.proxy.edge.Relay().Len())
	set(g.waiting, g.proxy.admit.Waiting())
	snap := g.proxy.fleet.Snapshot()
	set(g.fleetRevision, int(snap.Rev))
	type kind struct{ browser, playwright, state string }
	workers, slots := count(snap, func(m state.Member) kind {
		return kind{m.Browser, state.MajorMinor(m.Playwright), string(m.State)}
	})
	for k, n := range workers {
		set(g.workers, n, k.browser, k.playwright, k.state)
		set(g.slots, slots[k], k.browser, k.playwright, k.state)
	}
}

func count[K comparable](s *fleet.Snapshot, by func(state.Member) K) (workers, slots map[K]int) {
	workers, slots = map[K]int{}, map[K]int{}
	for _, m := range s.Workers {
		k := by(m)
		workers[k]++
		slots[k] += m.Slots
	}
	return workers, slots
}
