package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// jitter is the part of the interval by which it varies, so that the workers
	// of a machine do not probe in step.
	jitter = 0.2
	// pause is what lies between a probe that failed and the one that decides.
	pause = time.Second
)

// Options of a watch.
type Options struct {
	Interval time.Duration // between probes
	Limit    time.Duration // of one probe, in time in which CPU, disks and memory were to be had
	// PIDs are the processes that all calls go through: the server and the
	// browser's main one.
	PIDs []int
	Log  *zap.Logger
	// Probed is told how long every probe took and, when it failed, why. It hears
	// nothing of one that could not be made.
	Probed func(took time.Duration, err error)
}

// Watch probes again and again, until ctx ends or two probes in a row have
// failed; then it tells why. One may fail because the worker itself stood
// still, or the machine slept. One that could not be made says nothing of the
// browser.
func Watch(ctx context.Context, t Target, o Options) (hung error) {
	wait := time.NewTimer(o.next())
	defer wait.Stop()
	var failed, unable bool
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		err := o.once(ctx, t)
		before := unable
		unable = wanting(err)
		switch {
		case ctx.Err() != nil:
			return nil
		case unable:
			o.Log.Log(levelOf(before), "cannot probe the browser, which may be well: this process lacks descriptors (raise its limit of open files) or the machine memory", zap.Error(err))
			wait.Reset(o.next())
		case err == nil:
			failed = false
			wait.Reset(o.next())
		case failed:
			return err
		default:
			failed = true
			o.Log.Warn("the browser does not open a page; trying once more", zap.Error(err))
			wait.Reset(pause)
		}
	}
}

func (o Options) next() time.Duration {
	return time.Duration(float64(o.Interval) * (1 + jitter*(2*rand.Float64()-1))) //nolint:gosec // G404: nobody gains by guessing it
}

// levelOf is the level of what is told loudly once and may go on for long.
func levelOf(again bool) zapcore.Level {
	if again {
		return zapcore.DebugLevel
	}
	return zapcore.WarnLevel
}

func (o Options) once(ctx context.Context, t Target) error {
	began := time.Now()
	limited, done := withLimit(ctx, o.Limit, starvation(pressures, o.PIDs...))
	defer done()
	err := Page(limited, t)
	var failure *Failure
	if errors.As(err, &failure) && errors.Is(context.Cause(limited), errLate) {
		failure.Err = errLate
	}
	if o.Probed != nil && ctx.Err() == nil && !wanting(err) {
		o.Probed(time.Since(began), err)
	}
	return err
}
