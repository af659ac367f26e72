package state_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// server is the socket of the redis-server that all tests of the package share;
// each test has a pool of its own.
var server string

func TestMain(m *testing.M) { os.Exit(withRedis(m.Run)) }

// withRedis runs a redis-server that keeps nothing on disk for as long as run takes.
func withRedis(run func() int) int {
	dir, err := os.MkdirTemp("", "pwdist-state")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server = filepath.Join(dir, "redis.sock")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", server, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need redis-server:", err)
		return 1
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if err := answers(); err != nil {
		fmt.Fprintln(os.Stderr, "redis-server:", err)
		return 1
	}
	return run()
}

// answers waits for the first PONG.
func answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server}, DialCtxFn: dial, DisableCache: true, ForceSingleClient: true})
		if err == nil {
			defer c.Close()
			return c.Do(ctx, c.B().Ping().Build()).Error()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}
