package run

import "time"

// WithCutTime sets the patience with a Stop that hangs.
func WithCutTime(o Options, d time.Duration) Options {
	o.cutTime = d
	return o
}
