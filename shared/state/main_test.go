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

// All tests of the package share one redis-server and one client; each has a pool
// of its own.
var (
	server    string // the socket of the redis-server
	serverPID int
	conn      rueidis.Client
)

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
	command := []string{"redis-server", "--port", "0", "--unixsocket", server, "--save", "", "--appendonly", "no", "--dir", dir}
	if counted {
		command = append(underCallgrind(dir), command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need redis-server:", err)
		return 1
	}
	serverPID = cmd.Process.Pid
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if conn, err = answers(); err != nil {
		fmt.Fprintln(os.Stderr, "redis-server:", err)
		return 1
	}
	defer conn.Close()
	return run()
}

// answers waits for redis-server to take a connection.
func answers() (rueidis.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		c, err := connect()
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}
