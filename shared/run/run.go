// Package run starts the parts of a program in order and stops them in
// reverse, within deadlines.
package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Component is one part of a program.
type Component interface {
	// Name is what log lines and errors call the component.
	Name() string
	// Start returns when the component serves. Its context is for starting
	// only and ends when the program runs, so nothing that goes on may use it.
	Start(ctx context.Context) error
	// Stop drains and releases. It has until the context's deadline; when the
	// context ends it cuts what is left and returns soon.
	Stop(ctx context.Context) error
}

// Func makes a component of two functions; either may be nil.
func Func(name string, start, stop func(context.Context) error) Component {
	return &funcs{name: name, start: start, stop: stop}
}

type funcs struct {
	name        string
	start, stop func(context.Context) error
}

func (f *funcs) Name() string { return f.name }

func (f *funcs) Start(ctx context.Context) error { return call(ctx, f.start) }

func (f *funcs) Stop(ctx context.Context) error { return call(ctx, f.stop) }

func call(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

const (
	defaultStopTimeout = 30 * time.Second
	// defaultCutTime is what a component gets to return after its context has
	// ended, before Run goes on without it.
	defaultCutTime = 5 * time.Second
)

// Options of [Run].
type Options struct {
	Log *zap.Logger
	// StartTimeout bounds the start of all components together; 0 is no bound.
	StartTimeout time.Duration
	// StopTimeout bounds the stop of all components together; 0 is 30 s.
	StopTimeout time.Duration
	// Done ends the program from inside: a component sends nil, or closes the
	// channel, for a regular end and an error for one that is to be reported.
	Done <-chan error

	cutTime time.Duration // defaultCutTime but in tests
}

// Run starts the components in order and waits until ctx ends, SIGTERM or
// SIGINT arrives, or o.Done asks for the end. Then it stops them in reverse
// order, each with what is left of the deadline. A second signal ends the
// context of the stop at once.
//
// If a Start fails, those started before it are stopped and its error is
// returned. Otherwise Run returns what Done sent, else the first error of a
// Stop. Being told to stop, also while starting, is no error.
func Run(ctx context.Context, o Options, cs ...Component) error {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = defaultStopTimeout
	}
	if o.cutTime == 0 {
		o.cutTime = defaultCutTime
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	r := &runner{Options: o, signals: signals}
	err := r.start(ctx, cs)
	if err == nil && !r.told {
		err = r.wait(ctx)
	}
	return firstOf(err, r.stop(ctx))
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type runner struct {
	Options
	signals <-chan os.Signal
	started []Component
	told    bool // somebody asked for the end
}

func (r *runner) start(ctx context.Context, cs []Component) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.StartTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, r.StartTimeout)
		defer cancel()
	}
	for _, c := range cs {
		if err := r.startOne(ctx, cancel, c); err != nil || r.told {
			return err
		}
	}
	return nil
}

func (r *runner) startOne(ctx context.Context, cancel context.CancelFunc, c Component) error {
	began := time.Now()
	result := make(chan error, 1)
	go func() { result <- c.Start(ctx) }()
	done := r.Done
	var asked error
	for {
		select {
		case err := <-result:
			return r.startedOne(ctx, c, began, err, asked)
		case asked = <-done:
			r.end("asked to")
			done = nil
			cancel()
		case s := <-r.signals:
			if r.told {
				return fmt.Errorf("start %s: cut short by %s", c.Name(), s)
			}
			r.end(s.String())
			cancel()
		}
	}
}

// startedOne judges the result of one Start; asked is what Done sent meanwhile.
func (r *runner) startedOne(ctx context.Context, c Component, began time.Time, err, asked error) error {
	if err == nil {
		r.started = append(r.started, c)
		r.Log.Debug("started", zap.String("component", c.Name()), zap.Duration("took", time.Since(began)))
		return asked
	}
	switch {
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
		return fmt.Errorf("start %s: %w", c.Name(), err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("start %s: not ready within %s: %w", c.Name(), r.StartTimeout, err)
	default:
		r.told = true
		return asked
	}
}

func (r *runner) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		r.end("told to")
	case s := <-r.signals:
		r.end(s.String())
	case err := <-r.Done:
		r.end("asked to")
		return err
	}
	return nil
}

func (r *runner) end(why string) {
	r.told = true
	r.Log.Info("stopping", zap.String("why", why))
}

// stop stops what was started. Its context does not end with the caller's,
// which may be what asked for the end.
func (r *runner) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.StopTimeout)
	defer cancel()
	var first error
	for _, c := range slices.Backward(r.started) {
		if err := r.stopOne(ctx, cancel, c); err != nil {
			r.Log.Warn("stop", zap.String("component", c.Name()), zap.Error(err))
			first = firstOf(first, fmt.Errorf("stop %s: %w", c.Name(), err))
		}
	}
	return first
}

func (r *runner) stopOne(ctx context.Context, cancel context.CancelFunc, c Component) error {
	began := time.Now()
	result := make(chan error, 1)
	go func() { result <- c.Stop(ctx) }()
	ended := ctx.Done()
	var cut <-chan time.Time
	for {
		select {
		case err := <-result:
			if err == nil {
				r.Log.Debug("stopped", zap.String("component", c.Name()), zap.Duration("took", time.Since(began)))
			}
			return err
		case s := <-r.signals:
			r.Log.Warn("stop cut short", zap.String("why", s.String()))
			cancel()
		case <-ended:
			ended = nil
			timer := time.NewTimer(r.cutTime)
			defer timer.Stop()
			cut = timer.C
		case <-cut:
			return fmt.Errorf("did not return within %s after its deadline", r.cutTime)
		}
	}
}
