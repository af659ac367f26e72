package harness

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
)

// Redis is a private redis-server with the settings that `make up` gives its own.
type Redis struct {
	URL     string
	Address string
	Client  rueidis.Client // the test's own; it connects again by itself

	dir  string
	port int
	now  *Process
	all  []*Process
}

func startRedis(tb testing.TB, dir string) *Redis {
	tb.Helper()
	port := Port(tb)
	r := &Redis{URL: "redis://" + loopback(port) + "/0", Address: loopback(port), dir: dir, port: port}
	r.Start(tb)
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.Address}, ClientName: testClient, DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	r.Client = c
	return r
}

// testClient is the name under which a test's own connections stand in CLIENT LIST.
const testClient = "integration-test"

// Start runs the server, empty, on its port.
func (r *Redis) Start(tb testing.TB) {
	tb.Helper()
	r.now = Start(tb, r.dir, Command{
		Name: "redis", Path: "redis-server", Dir: r.dir,
		Args: []string{filepath.Join(Root(), "deploy/local/redis.conf"), "--port", itoa(r.port), "--dir", r.dir},
	})
	r.all = append(r.all, r.now)
	Await(tb, "redis-server listens", func() bool { return Listens(r.Address) || !r.now.Running() })
	if !r.now.Running() {
		tb.Fatalf("redis-server does not start:\n%s", r.now.Tail())
	}
}

// Kill ends the server at once; its data is gone.
func (r *Redis) Kill() { r.now.Kill() }

// Freeze stops the server from answering while its connections stay, until Thaw.
func (r *Redis) Freeze(tb testing.TB) { r.now.Signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (r *Redis) Thaw(tb testing.TB) { r.now.Signal(tb, syscall.SIGCONT) }

func (r *Redis) stop(tb testing.TB) {
	r.now.Kill()
	r.Client.Close()
	for _, p := range r.all {
		p.showOnFailure(tb)
	}
}

// do runs a command that may run twice: after a restart the client finds out
// only by a failure that its connection is gone.
func (r *Redis) do(ctx context.Context, args ...string) rueidis.RedisResult {
	run := func() rueidis.RedisResult {
		return r.Client.Do(ctx, r.Client.B().Arbitrary(args[0]).Args(args[1:]...).Build())
	}
	if got := run(); got.NonRedisError() == nil {
		return got
	}
	return run()
}

// tempDir is a folder for what processes of this test write. It is not
// tb.TempDir, whose cleanup runs before a pool's and fails on files that appear
// meanwhile.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(scratch(), "")
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}
