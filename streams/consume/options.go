package consume

import (
	"context"
	"log/slog"
	"time"
)

// answerLimit is how long Redis may take to answer a command that does not block.
const answerLimit = 5 * time.Second

// readLimit is how long a read that blocks may take before the connection is
// taken to be dead.
func readLimit(block time.Duration) time.Duration {
	if block == 0 {
		return answerLimit
	}
	return block + max(time.Second, block/4)
}

// Option changes how [Tail] and [Replay] read.
type Option func(*options)

type options struct {
	batch   int64
	block   time.Duration
	onRetry func(err error, wait time.Duration)
}

func newOptions(opts []Option) options {
	o := options{batch: 500, block: 20 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithBatch sets how many entries are read at most in one command; 500 by
// default.
func WithBatch(n int) Option {
	return func(o *options) { o.batch = max(1, int64(n)) }
}

// WithBlock sets for how long Tail waits in one blocking read; 20 s by default.
// It does not delay events. It bounds how long a connection that died without a
// word goes unnoticed, and is at least a second.
func WithBlock(d time.Duration) Option {
	return func(o *options) { o.block = max(time.Second, d) }
}

// WithOnRetry is called when Redis cannot be read, before Tail waits and tries
// again. By default a warning goes to the default logger of log/slog.
func WithOnRetry(f func(err error, wait time.Duration)) Option {
	return func(o *options) { o.onRetry = f }
}

func (o *options) retrying(ctx context.Context, err error, wait time.Duration) {
	if o.onRetry != nil {
		o.onRetry(err, wait)
		return
	}
	slog.WarnContext(ctx, "event log cannot be read, trying again", "error", err, "wait", wait)
}
