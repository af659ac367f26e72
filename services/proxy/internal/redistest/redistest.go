// Package redistest gives the tests of a package a redis-server of their own.
package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Run starts a redis-server that keeps nothing on disk, for as long as the
// tests take, and returns the exit code of the process.
func Run(tests func(redisx.Client) int) int {
	dir, err := os.MkdirTemp("", "pwdist-proxy")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return fail(fmt.Errorf("these tests need redis-server: %w", err))
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	client, err := redisx.Connect(ctx, redisx.Options{
		Redis: config.Redis{URL: "unix://" + socket}, ClientName: "pwdist-test", Log: zap.NewNop(), OnHealth: func(bool, string) {},
	})
	if err != nil {
		return fail(err)
	}
	defer client.Close()
	return tests(client)
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

var pools atomic.Int64

// Store makes a store of a pool that is new.
func Store(t *testing.T, c redisx.Client, o state.Options, heard func(state.Meta)) *state.Store {
	t.Helper()
	pool, err := keys.For(fmt.Sprintf("t%d", pools.Add(1)))
	require.NoError(t, err)
	s, err := state.New(c, pool, o, heard)
	require.NoError(t, err)
	return s
}

// Worker is what a worker of Chromium announces.
func Worker(id string, slots int) state.Worker {
	return state.Worker{ID: id, Endpoint: id + ":3131", Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.56.1",
		Isolation: []string{"context"}, Slots: slots}
}

// Join brings a worker into the pool, ready.
func Join(t *testing.T, s *state.Store, w state.Worker) {
	t.Helper()
	_, err := s.Join(t.Context(), state.JoinRequest{Worker: w, State: state.Ready, Number: 1})
	require.NoError(t, err)
}
