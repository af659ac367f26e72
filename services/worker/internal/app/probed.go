package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// probed returns what counts the probes of the browser.
func probed(reg prometheus.Registerer) func(time.Duration, error) {
	f := promauto.With(reg)
	took := f.NewHistogram(prometheus.HistogramOpts{
		Name:                        "pwdist_worker_probe_seconds",
		Help:                        "Time that the browser took for a probe that came through.",
		Buckets:                     []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor: 1.1,
	})
	failed := f.NewCounter(prometheus.CounterOpts{
		Name: "pwdist_worker_probe_failures_total",
		Help: "Probes that failed; two in a row end the browser.",
	})
	return func(d time.Duration, err error) {
		if err != nil {
			failed.Inc()
			return
		}
		took.Observe(d.Seconds())
	}
}
