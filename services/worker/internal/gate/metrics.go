package gate

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are what a gate counts.
type Metrics struct {
	started  prometheus.Counter
	ended    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	calls    *prometheus.CounterVec
	hellos   *prometheus.CounterVec
	prepared *prometheus.CounterVec
	opening  prometheus.Histogram
	up, down traffic
}

// traffic counts one direction of all sessions.
type traffic struct {
	bytes, messages prometheus.Counter
}

// NewMetrics registers the gate's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	bytes := f.NewCounterVec(prometheus.CounterOpts{
		Name: "pwdist_worker_bytes_total",
		Help: "Bytes moved; up is from client to browser.",
	}, []string{"direction"})
	messages := f.NewCounterVec(prometheus.CounterOpts{
		Name: "pwdist_worker_messages_total",
		Help: "WebSocket messages moved; up is from client to browser.",
	}, []string{"direction"})
	return &Metrics{
		started: f.NewCounter(prometheus.CounterOpts{
			Name: "pwdist_worker_sessions_started_total",
			Help: "Sessions that started.",
		}),
		ended: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_sessions_ended_total",
			Help: "Sessions that ended, by reason.",
		}, []string{"reason"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_refusals_total",
			Help: "Connections that the gate refused, by code.",
		}, []string{"code"}),
		calls: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_guard_refusals_total",
			Help: "Calls of clients that the guard refused, by method; protocol stands for a connection that it ended.",
		}, []string{"method"}),
		hellos: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_hellos_total",
			Help: "Sessions for which the server was asked in advance what clients of their kind say first, by outcome: answered, or unsaid where the client began in another way.",
		}, []string{"outcome"}),
		prepared: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pwdist_worker_prepared_total",
			Help: "Sessions for which a context, or a context with a page, was opened in advance, by outcome: used, or unused where the client did not open it.",
		}, []string{"outcome"}),
		opening: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "pwdist_worker_session_opening_seconds",
			Help:                        "Time from a handshake to its answer, for sessions that started.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1,
		}),
		up:   traffic{bytes.WithLabelValues("up"), messages.WithLabelValues("up")},
		down: traffic{bytes.WithLabelValues("down"), messages.WithLabelValues("down")},
	}
}
