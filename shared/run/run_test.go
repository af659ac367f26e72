package run_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/playwright-distributed/playwright-distributed/shared/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

// journal notes what happens in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string{}, j.lines...)
}

func (j *journal) component(name string, startErr, stopErr error) run.Component {
	return run.Func(name,
		func(context.Context) error { j.note("start %s", name); return startErr },
		func(context.Context) error { j.note("stop %s", name); return stopErr })
}

func TestStartsInOrderAndStopsInReverse(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(context.Background())
	err := run.Run(ctx, run.Options{},
		j.component("a", nil, nil), j.component("b", nil, nil),
		run.Func("end", func(context.Context) error { cancel(); return nil }, nil))
	require.NoError(t, err)
	require.Equal(t, []string{"start a", "start b", "stop b", "stop a"}, j.all())
}

func TestFailedStartStopsWhatWasStarted(t *testing.T) {
	var j journal
	err := run.Run(context.Background(), run.Options{},
		j.component("a", nil, errors.New("later")), j.component("b", errBroken, nil), j.component("c", nil, nil))
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "start b: broken")
	require.Equal(t, []string{"start a", "start b", "stop a"}, j.all())
}

func TestStopGoesOnAfterAnError(t *testing.T) {
	var j journal
	done := make(chan error)
	err := run.Run(context.Background(), run.Options{Done: done},
		j.component("a", nil, nil), j.component("b", nil, errBroken), j.component("c", nil, errors.New("broken first")),
		run.Func("end", func(context.Context) error { close(done); return nil }, nil))
	require.EqualError(t, err, "stop c: broken first")
	require.Equal(t, []string{"stop c", "stop b", "stop a"}, j.all()[3:])
}

func TestDone(t *testing.T) {
	for _, want := range []error{nil, errBroken} {
		var j journal
		done := make(chan error, 1)
		a := run.Func("a", func(context.Context) error { done <- want; return nil }, nil)
		require.ErrorIs(t, run.Run(context.Background(), run.Options{Done: done}, j.component("b", nil, nil), a), want)
		require.Equal(t, []string{"start b", "stop b"}, j.all())
	}
}

// TestDoneWhileStarting: a component that fails while a later one still starts
// ends the start and is what Run returns.
func TestDoneWhileStarting(t *testing.T) {
	var j journal
	done := make(chan error, 1)
	err := run.Run(context.Background(), run.Options{Done: done},
		j.component("a", nil, nil),
		run.Func("slow", func(ctx context.Context) error {
			done <- errBroken
			<-ctx.Done()
			return fmt.Errorf("waiting: %w", ctx.Err())
		}, nil),
		j.component("never", nil, nil))
	require.Equal(t, errBroken, err)
	require.Equal(t, []string{"start a", "stop a"}, j.all())
}

func raise(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Error(err)
	}
}

func TestSignalsEnd(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		var j journal
		core, logs := observer.New(zap.InfoLevel)
		err := run.Run(context.Background(), run.Options{Log: zap.New(core)},
			j.component("a", nil, nil),
			run.Func("b", func(context.Context) error { raise(t, s); return nil }, nil))
		require.NoError(t, err)
		require.Equal(t, []string{"start a", "stop a"}, j.all())
		require.Equal(t, 1, logs.FilterMessage("stopping").FilterField(zap.String("why", s.String())).Len())
	}
}

// TestSignalWhileStarting: a program that waits for Redis can be stopped, and
// that is no error.
func TestSignalWhileStarting(t *testing.T) {
	var j journal
	err := run.Run(context.Background(), run.Options{},
		j.component("a", nil, nil),
		run.Func("waits", func(ctx context.Context) error {
			raise(t, syscall.SIGTERM)
			<-ctx.Done()
			return fmt.Errorf("cannot reach it: %w", ctx.Err())
		}, nil),
		j.component("never", nil, nil))
	require.NoError(t, err)
	require.Equal(t, []string{"start a", "stop a"}, j.all())
}

// TestSignalWhileStartingDoesNotHideAnError that has nothing to do with it.
func TestSignalWhileStartingDoesNotHideAnError(t *testing.T) {
	err := run.Run(context.Background(), run.Options{}, run.Func("a", func(ctx context.Context) error {
		raise(t, syscall.SIGTERM)
		<-ctx.Done()
		return errBroken
	}, nil))
	require.EqualError(t, err, "start a: broken")
}

func TestSecondSignalLeavesAStartThatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	err := run.Run(context.Background(), run.Options{}, run.Func("a", func(ctx context.Context) error {
		raise(t, syscall.SIGTERM)
		<-ctx.Done()
		raise(t, syscall.SIGINT)
		<-release
		return nil
	}, nil))
	require.EqualError(t, err, "start a: cut short by interrupt")
}

func TestStartTimeout(t *testing.T) {
	err := run.Run(context.Background(), run.Options{StartTimeout: 10 * time.Millisecond},
		run.Func("a", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "start a: not ready within 10ms")
}

// TestStopContext: one deadline for all, not ended by what ended the program.
func TestStopContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var deadlines []time.Time
	stop := func(ctx context.Context) error {
		require.NoError(t, ctx.Err())
		d, ok := ctx.Deadline()
		require.True(t, ok)
		deadlines = append(deadlines, d)
		return nil
	}
	began := time.Now()
	err := run.Run(ctx, run.Options{StopTimeout: time.Hour},
		run.Func("a", nil, stop), run.Func("b", func(context.Context) error { cancel(); return nil }, stop))
	require.NoError(t, err)
	require.Len(t, deadlines, 2)
	require.Equal(t, deadlines[0], deadlines[1])
	require.WithinRange(t, deadlines[0], began.Add(time.Hour), time.Now().Add(time.Hour))
}

func TestSecondSignalCutsTheStopShort(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	err := run.Run(ctx, run.Options{StopTimeout: time.Hour}, run.Func("a",
		func(context.Context) error { cancel(); return nil },
		func(ctx context.Context) error {
			raise(t, syscall.SIGTERM)
			<-ctx.Done()
			return ctx.Err()
		}))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "stop a")
}

// TestStopThatHangsIsLeft: the others still get their turn.
func TestStopThatHangsIsLeft(t *testing.T) {
	var j journal
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	o := run.WithCutTime(run.Options{StopTimeout: 10 * time.Millisecond}, 10*time.Millisecond)
	err := run.Run(ctx, o,
		j.component("a", nil, nil),
		run.Func("hangs", func(context.Context) error { cancel(); return nil }, func(context.Context) error { <-release; return nil }))
	require.ErrorContains(t, err, "stop hangs: did not return within")
	require.Equal(t, []string{"start a", "stop a"}, j.all())
}

func TestStartContextEndsWithTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var kept context.Context
	err := run.Run(ctx, run.Options{}, run.Func("a", func(ctx context.Context) error { kept = ctx; cancel(); return nil }, nil))
	require.NoError(t, err)
	require.Error(t, kept.Err())
}
