package load_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
)

// rig starts what a measurement needs. All of it ends with the test.
type rig struct {
	tb      testing.TB
	dir     string
	redis   string // URL
	started []*harness.Process
}

// target is a way to a stand-in: a relay, of which the costs are measured.
type target struct {
	name    string
	address string
	admin   string // of our programs
	process *harness.Process
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{tb: tb, dir: tb.TempDir()}
	port := harness.Port(tb)
	p := r.start(harness.Command{
		Name: "Redis", Path: "redis-server", Dir: r.dir,
		Args: []string{filepath.Join(harness.Root(), "deploy/local/redis.conf"), "--port", strconv.Itoa(port), "--dir", r.dir},
	})
	r.redis = fmt.Sprintf("redis://127.0.0.1:%d/0", port)
	r.await(p, "redis-server listens", func() bool { return harness.Listens(loopback(port)) })
	return r
}

// client is one of the pool's Redis.
func (r *rig) client() rueidis.Client {
	r.tb.Helper()
	option := rueidis.MustParseURL(r.redis)
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	require.NoError(r.tb, err)
	r.tb.Cleanup(client.Close)
	return client
}

// events is the log of the pool.
func (r *rig) events() []event.Event {
	r.tb.Helper()
	redis := r.client()
	entries, err := redis.Do(r.tb.Context(), redis.B().Xrange().Key(event.Key("default")).Start("-").End("+").Build()).AsXRange()
	require.NoError(r.tb, err)
	all := make([]event.Event, len(entries))
	for i, entry := range entries {
		all[i], err = event.Parse(entry.ID, entry.FieldValues)
		require.NoError(r.tb, err)
	}
	return all
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// start runs a program until the test is over; those started later end first.
func (r *rig) start(c harness.Command) *harness.Process {
	r.tb.Helper()
	p := harness.Start(r.tb, r.dir, c)
	r.started = append(r.started, p)
	r.tb.Cleanup(func() {
		if err := p.Terminate(harness.Patience); err != nil && c.Name != "haproxy" {
			r.tb.Error(err)
		}
		if r.tb.Failed() {
			r.tb.Logf("── %s\n%s", c.Name, p.Tail())
		}
	})
	return p
}

// await waits for a condition that a process has to bring about.
func (r *rig) await(p *harness.Process, what string, ok func() bool) {
	r.tb.Helper()
	harness.Await(r.tb, what, func() bool { return ok() || !p.Running() })
	if !p.Running() {
		r.tb.Fatalf("%s has ended:\n%s", p.Name, p.Tail())
	}
}

// standIn starts a stand-in for so many workers with so many slots each and
// returns its port.
func (r *rig) standIn(workers, slots int) int {
	r.tb.Helper()
	port := harness.Port(r.tb)
	o := standin.Options{Listen: "0.0.0.0:" + strconv.Itoa(port), Redis: r.redis, Workers: workers, Slots: slots}
	r.runStandIn(o)
	return port
}

func (r *rig) runStandIn(o standin.Options) {
	r.tb.Helper()
	o.Ready = "serves"
	env, err := json.Marshal(o)
	if err != nil {
		r.tb.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		r.tb.Fatal(err)
	}
	p := r.start(harness.Command{Name: "stand-in", Path: self, Env: []string{standin.Variable + "=" + string(env)}})
	r.await(p, "the stand-in serves", func() bool { return strings.Contains(p.Output(), o.Ready) })
}

// proxy starts a pwdist-proxy and returns when it is ready.
func (r *rig) proxy(more ...string) target {
	r.tb.Helper()
	listen, admin := loopback(harness.Port(r.tb)), loopback(harness.Port(r.tb))
	p := r.start(harness.Command{
		Name: "proxy", Path: harness.Binary(r.tb, "pwdist-proxy"),
		Args: append([]string{
			"--listen=" + listen, "--admin.listen=" + admin, "--redis.url=" + r.redis, "--log.level=warn", "--drain=1s",
			"--queue.size=10000",
		}, more...),
	})
	t := target{name: "pwdist-proxy", address: listen, admin: admin, process: p}
	r.await(p, "the proxy is ready", func() bool { _, err := t.get("/readyz"); return err == nil })
	return t
}

// haproxy starts Debian's HAProxy before a server: host:port, or unix@path.
func (r *rig) haproxy(server string) target {
	r.tb.Helper()
	port := harness.Port(r.tb)
	config := filepath.Join(r.dir, fmt.Sprintf("haproxy-%d.cfg", port))
	text := fmt.Sprintf(`global
    nbthread 1
    maxconn 9900
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen pool
    bind 127.0.0.1:%d
    server standin %s
`, port, server)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		r.tb.Fatal(err)
	}
	p := r.start(harness.Command{Name: "haproxy", Path: haproxyPath(r.tb), Args: []string{"-db", "-f", config}})
	r.await(p, "haproxy listens", func() bool { return harness.Listens(loopback(port)) })
	return target{name: "HAProxy", address: loopback(port), process: p}
}

// haproxyPath is where Debian has it, which need not be on a user's PATH.
func haproxyPath(tb testing.TB) string {
	tb.Helper()
	for _, path := range []string{"/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/local/bin/haproxy", "/opt/homebrew/bin/haproxy"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	tb.Fatal("haproxy is not installed: run deploy/local/install.sh haproxy")
	return ""
}

// get reads a page of a target's admin server.
func (t target) get(path string) ([]byte, error) {
	resp, err := http.Get("http://" + t.admin + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return b, err
}
