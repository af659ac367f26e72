package probe

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// withoutDescriptors lets this process open nothing until the returned function
// is called.
func withoutDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	free, err := os.Open(os.DevNull)
	require.NoError(t, err)
	next := free.Fd() // the lowest that is not in use
	require.NoError(t, free.Close())
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}))
	restore = func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }
	t.Cleanup(restore)
	_, err = os.Open(os.DevNull)
	require.ErrorIs(t, err, syscall.EMFILE)
	return restore
}

func TestAWorkerWithoutDescriptorsDoesNotBlameTheBrowser(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	counted := make(chan error, 10)
	verdict := make(chan error, 1)
	nobody := Target{Socket: filepath.Join(t.TempDir(), "socket"), Path: "/"}
	restore := withoutDescriptors(t)
	go func() {
		verdict <- Watch(ctx, nobody, Options{
			Interval: time.Millisecond, Limit: time.Minute, Log: zap.New(core),
			Probed: func(_ time.Duration, err error) { counted <- err },
		})
	}()
	const text = "cannot probe the browser, which may be well: this process lacks descriptors (raise its limit of open files) or the machine memory"
	told := func() int { return logs.FilterMessage(text).Len() }
	require.Eventually(t, func() bool { return told() >= 5 || len(verdict) > 0 }, 20*time.Second, time.Millisecond)
	require.Empty(t, verdict)
	require.Empty(t, counted)
	require.Equal(t, 1, logs.FilterMessage(text).FilterLevelExact(zap.WarnLevel).Len())

	restore()
	require.ErrorIs(t, <-verdict, syscall.ENOENT, "a server that is not there is another matter")
	require.Len(t, counted, 2)
}
