package harness

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

// redisServer is one redis-server on a port and a folder of its own, through
// any number of restarts.
type redisServer struct {
	address string
	port    int
	dir     string
	keeps   bool // its data outlives it

	process *Process
	all     []*Process
}

// start runs the server with what is in its folder.
func (s *redisServer) start(tb testing.TB) {
	tb.Helper()
	args := []string{filepath.Join(Root(), "deploy/local/redis.conf"), "--port", itoa(s.port), "--dir", s.dir}
	if s.keeps {
		args = append(args, "--appendonly", "yes")
	}
	s.process = Start(tb, filepath.Dir(s.dir), Command{Name: "redis", Path: "redis-server", Dir: s.dir, Args: args})
	s.all = append(s.all, s.process)
	Await(tb, "redis-server answers", func() bool { return s.answers() || !s.process.Running() })
	if !s.process.Running() {
		tb.Fatalf("redis-server does not start:\n%s", s.process.Tail())
	}
}

// answers tells whether the server has its data and takes commands.
func (s *redisServer) answers() bool {
	if !Listens(s.address) {
		return false
	}
	_, err := s.try("PING")
	return err == nil
}

// keep turns the append-only file on and returns when it is complete. What is
// answered after that survives a kill, because the file is written before the
// answer, and the system keeps what a killed process wrote.
func (s *redisServer) keep(tb testing.TB) {
	tb.Helper()
	s.do(tb, "CONFIG", "SET", "appendonly", "yes")
	Await(tb, "the append-only file is complete", func() bool {
		return s.info(tb, "persistence", "aof_rewrite_in_progress") == "0" &&
			s.info(tb, "persistence", "aof_rewrite_scheduled") == "0"
	})
	s.keeps = true
}

// forget removes what the server kept; a replica also leaves the snapshot that
// it began with.
func (s *redisServer) forget(tb testing.TB) {
	tb.Helper()
	s.keeps = false
	if err := os.RemoveAll(s.dir); err != nil {
		tb.Fatal(err)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		tb.Fatal(err)
	}
}

// do runs a command on this very server, whichever of them the test's client
// talks to.
func (s *redisServer) do(tb testing.TB, args ...string) string {
	tb.Helper()
	got, err := s.try(args...)
	if err != nil {
		tb.Fatalf("redis %s: %s: %v", s.address, strings.Join(args, " "), err)
	}
	return got
}

func (s *redisServer) try(args ...string) (string, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address}, ClientName: testClient, DisableCache: true, ForceSingleClient: true, DisableRetry: true,
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Do(context.Background(), c.B().Arbitrary(args[0]).Args(args[1:]...).Build()).ToString()
}

// info reads one field of a section of INFO.
func (s *redisServer) info(tb testing.TB, section, field string) string {
	tb.Helper()
	for line := range strings.Lines(s.do(tb, "INFO", section)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == field {
			return value
		}
	}
	tb.Fatalf("INFO %s has no %s", section, field)
	return ""
}

func offset(tb testing.TB, s string) int64 {
	tb.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
