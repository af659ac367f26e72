package harness

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
)

// Redis is a private redis-server with the settings that `make up` gives its
// own, and what a test may do to it: kill it and bring it back, empty or with
// its data, freeze it, and fail over to a replica.
type Redis struct {
	// URL and Address are of the server that the pool started with. After a
	// Failover nobody is there; what stands in front, such as a proxy, then
	// leads to Serving.
	URL     string
	Address string
	Client  rueidis.Client // the test's own; it goes where Serving says, and connects again by itself

	dir     string
	now     *redisServer
	replica *redisServer // nil when there is none
	all     []*redisServer

	mu      sync.Mutex
	serving string
	dialled []net.Conn // by the test's client
}

func startRedis(tb testing.TB, dir string) *Redis {
	tb.Helper()
	port := Port(tb)
	r := &Redis{URL: "redis://" + loopback(port) + "/0", Address: loopback(port), dir: dir}
	r.now = r.add(tb, port)
	r.serve(r.now)
	r.now.start(tb)
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.Address}, ClientName: testClient, DisableCache: true, ForceSingleClient: true,
		DialCtxFn: func(ctx context.Context, _ string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return r.dial(ctx, d)
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	r.Client = c
	return r
}

// testClient is the name under which a test's own connections stand in CLIENT LIST.
const testClient = "integration-test"

// Serving is the address of the server that takes writes now.
func (r *Redis) Serving() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serving
}

// Start runs the server on its port after a Kill or Stop, empty, whatever it
// kept.
func (r *Redis) Start(tb testing.TB) {
	tb.Helper()
	r.now.forget(tb)
	r.now.start(tb)
}

// Persist has the server keep its data from now on: each command is in its
// append-only file before the client has the answer.
func (r *Redis) Persist(tb testing.TB) {
	tb.Helper()
	r.now.keep(tb)
}

// StartWithData runs the server on its port after a Kill or Stop, with all that
// it had. Only after Persist does it have anything.
func (r *Redis) StartWithData(tb testing.TB) {
	tb.Helper()
	if !r.now.keeps {
		tb.Fatal("Redis.StartWithData without Redis.Persist before: there is no data")
	}
	r.now.start(tb)
}

// Kill ends the server at once.
func (r *Redis) Kill() { r.now.process.Kill() }

// Stop asks the server to end, and returns when it has.
func (r *Redis) Stop(tb testing.TB) {
	tb.Helper()
	if err := r.now.process.Terminate(Patience); err != nil {
		tb.Fatal(err)
	}
}

// Freeze stops the server from answering while its connections stay, until Thaw.
func (r *Redis) Freeze(tb testing.TB) {
	tb.Helper()
	r.now.process.Signal(tb, syscall.SIGSTOP)
}

// Thaw lets a frozen server go on.
func (r *Redis) Thaw(tb testing.TB) {
	tb.Helper()
	r.now.process.Signal(tb, syscall.SIGCONT)
}

// StartReplica runs a second server that follows the first, and returns when it
// has all that the first had.
func (r *Redis) StartReplica(tb testing.TB) {
	tb.Helper()
	r.now.do(tb, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
	r.replica = r.add(tb, Port(tb))
	r.replica.start(tb)
	host, port, err := net.SplitHostPort(r.now.address)
	if err != nil {
		tb.Fatal(err)
	}
	r.replica.do(tb, "REPLICAOF", host, port)
	r.AwaitReplica(tb)
}

// AwaitReplica returns when the replica has all that the server has written
// until now.
func (r *Redis) AwaitReplica(tb testing.TB) {
	tb.Helper()
	wrote := r.now.info(tb, "replication", "master_repl_offset")
	Await(tb, "the replica has everything", func() bool {
		return r.replica.info(tb, "replication", "master_link_status") == "up" &&
			offset(tb, r.replica.info(tb, "replication", "slave_repl_offset")) >= offset(tb, wrote)
	})
}

// Lag has the replica get nothing of what is written from now on, which a
// Failover then loses.
func (r *Redis) Lag(tb testing.TB) {
	tb.Helper()
	r.AwaitReplica(tb)
	r.replica.do(tb, "REPLICAOF", "NO", "ONE")
}

// Failover kills the server and makes its replica the one that takes writes.
// Replication is asynchronous: what the replica had not read by then is lost,
// see AwaitReplica. The test leads the pool to the address in Serving.
func (r *Redis) Failover(tb testing.TB) {
	tb.Helper()
	r.now.process.Kill()
	r.Promote(tb)
}

// Promote makes the replica the server that counts, and leaves the one that it
// followed alone, as when a watchman believes that one dead who is not.
func (r *Redis) Promote(tb testing.TB) {
	tb.Helper()
	r.replica.do(tb, "REPLICAOF", "NO", "ONE")
	r.now, r.replica = r.replica, nil
	r.serve(r.now)
}

// Swap makes the replica the server that counts and the old one its replica,
// which keeps its connections and refuses writes: a failover that was planned.
func (r *Redis) Swap(tb testing.TB) {
	tb.Helper()
	r.AwaitReplica(tb)
	old := r.now
	r.Promote(tb)
	host, port, err := net.SplitHostPort(r.now.address)
	if err != nil {
		tb.Fatal(err)
	}
	old.do(tb, "REPLICAOF", host, port)
	r.replica = old
}

func (r *Redis) add(tb testing.TB, port int) *redisServer {
	tb.Helper()
	dir, err := os.MkdirTemp(r.dir, "redis-")
	if err != nil {
		tb.Fatal(err)
	}
	s := &redisServer{address: loopback(port), port: port, dir: dir}
	r.all = append(r.all, s)
	return s
}

// serve leads the test's own client to a server.
func (r *Redis) serve(s *redisServer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving = s.address
	for _, c := range r.dialled {
		_ = c.Close() // the server may have closed it already
	}
	r.dialled = nil
}

func (r *Redis) dial(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", r.Serving())
	if err == nil {
		r.mu.Lock()
		r.dialled = append(r.dialled, c)
		r.mu.Unlock()
	}
	return c, err
}

func (r *Redis) stop(tb testing.TB) {
	for _, s := range r.all {
		s.process.Kill()
	}
	r.Client.Close()
	for _, s := range r.all {
		for _, p := range s.all {
			p.showOnFailure(tb)
		}
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
