// Package testkit has what the worker's tests share.
package testkit

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Patience is what anything may take on a busy machine.
const Patience = 20 * time.Second

// Redis is a server of a test's own, at an address that it keeps.
type Redis struct {
	t    testing.TB
	port string
	dir  string
	cmd  *exec.Cmd
	// ended is closed when it has ended.
	ended chan struct{}
}

// StartRedis starts a server that keeps nothing on disk.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	r := &Redis{t: t, port: FreePort(t), dir: t.TempDir()}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// FreePort is one that nobody listens on, and that no test gets again as long as this one's binary runs. It lies below
// those that the kernel gives to connections: of these there may be few left, after a test of many connections.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		if p := 20_000 + rand.IntN(12_000); keep(p) { //nolint:gosec // a port
			return strconv.Itoa(p)
		}
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

// keep takes a port with a socket that never listens and is never closed. It is bound before it allows others to share
// the port: so it fails where there is one already, of whatever test binary, while a server, which always allows it,
// can listen.
func keep(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
	}
	return err == nil
}

// URL is the server's address.
func (r *Redis) URL() string { return "redis://127.0.0.1:" + r.port }

// Start starts it, empty.
func (r *Redis) Start() {
	r.t.Helper()
	r.cmd = exec.CommandContext(context.Background(), "redis-server", "--bind", "127.0.0.1", "--port", r.port, "--save", "", "--appendonly", "no", "--dir", r.dir,
		"--logfile", filepath.Join(r.dir, "log"))
	// Also when the test is killed. Linux counts from the thread that starts it,
	// which therefore waits for it.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	r.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}(r.cmd, r.ended)
	if err := <-started; err != nil {
		r.t.Fatal(err)
	}
	deadline := time.Now().Add(Patience)
	for {
		var d net.Dialer
		c, err := d.DialContext(context.Background(), "tcp", "127.0.0.1:"+r.port)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("redis-server does not start: %v\n%s", err, log)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Kill ends it with all it knows.
func (r *Redis) Kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		<-r.ended
		r.cmd = nil
	}
}

// Connect returns a client, which is closed with the test.
func (r *Redis) Connect(onHealth func(bool, string)) redisx.Client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, err := redisx.Connect(ctx, redisx.Options{Redis: config.Redis{URL: r.URL()}, Log: zap.NewNop(), OnHealth: onHealth})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// Pool is a look into a pool, from outside.
type Pool struct {
	*state.Store
	t      testing.TB
	Client redisx.Client
	Keys   keys.Pool
}

// Pool opens one.
func (r *Redis) Pool(o state.Options) *Pool {
	r.t.Helper()
	k, err := keys.For("default")
	if err != nil {
		r.t.Fatal(err)
	}
	c := r.Connect(nil)
	s, err := state.New(c, k, o, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &Pool{Store: s, t: r.t, Client: c, Keys: k}
}

// Do runs a plain command; what is not a list of strings becomes one of one.
func (p *Pool) Do(args ...string) []string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	reply := p.Client.Do(ctx, p.Client.B().Arbitrary(args[0]).Args(args[1:]...).Build())
	if list, err := reply.AsStrSlice(); err == nil {
		return list
	}
	m, err := reply.ToMessage()
	if err != nil {
		return nil
	}
	s, _ := m.ToString()
	return []string{s}
}

// Events are the log from its beginning, one line each: type, session or
// worker, and reason. That a busy machine stood still for a moment is left out.
func (p *Pool) Events() []string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	entries, err := p.Client.Do(ctx, p.Client.B().Arbitrary("XRANGE").Keys(p.Keys.Events()).Args("-", "+").Build()).AsXRange()
	if err != nil {
		p.t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		f := e.FieldValues
		if f["type"] == "pool.resumed" {
			continue
		}
		lines = append(lines, strings.Join(strings.Fields(f["type"]+" "+f["session"]+" "+f["reason"]), " "))
	}
	return lines
}

// Field reads one field of a hash, empty where there is none.
func (p *Pool) Field(key, field string) string {
	p.t.Helper()
	got := p.Do("HGET", key, field)
	if len(got) == 0 {
		return ""
	}
	return got[0]
}

// Session reads the record of a session, empty where there is none.
func (p *Pool) Session(id string) map[string]string {
	p.t.Helper()
	got := p.Do("GET", p.Keys.Session(id))
	if len(got) == 0 {
		return map[string]string{}
	}
	return state.RecordFields(got[0])
}

// Await waits for a condition of the pool.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
