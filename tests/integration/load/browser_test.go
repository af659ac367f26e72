package load_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

const slots = 5

// benchE2E measures what a user sees: sessions in a real Chromium, through the
// pool and directly, which take turns. Three more ways tell what the figures are
// worth: a pool that has no page ready (browser.prepare), a second direct server,
// which ought to differ in nothing, and two HAProxies before the first, which is as
// many hops as the pool has.
//
// Two servers that differ in nothing are up to 3 % apart for as long as they live,
// however often they are asked. So each round has new ones, and what counts is the
// ratio to the mean of both direct ones in the same round.
func benchE2E(t *testing.T) {
	var names []string
	all := map[string]series{}
	for round := range rounds(t) {
		t.Run(strconv.Itoa(round+1), func(t *testing.T) {
			w := newWays(t)
			w.addPlain()
			got := w.pages(t, 10)
			names = names[:0]
			for _, way := range w.all {
				names = append(names, way.name)
				if all[way.name] == nil {
					all[way.name] = series{}
				}
				all[way.name].add(got[way.name])
			}
		})
	}
	pool, direct, another, hops, plain := all[names[0]], all[names[1]], all[names[2]], all[names[3]], all[names[4]]
	fmt.Printf("\n### End to end in a real Chromium, %d rounds with new servers each\n\n", rounds(t))
	fmt.Printf("| | directly, ms | through the pool, ms | beside directly | target | a pool with nothing ready | one direct server beside the other | two HAProxies beside directly |\n|---|---|---|---|---|---|---|---|\n")
	for _, part := range []struct{ figure, target string }{{"connect", "≤ 1.5 ms more"}, {"firstPage", "≤ 1.02"}, {"whole", ""}} {
		base := make([]float64, len(direct[part.figure]))
		for i := range base {
			base[i] = (direct[part.figure][i] + another[part.figure][i]) / 2
		}
		beside := func(way, base []float64) string {
			if part.figure == "connect" {
				return fmt.Sprintf("%+.1f ms", median(way)-median(base))
			}
			low, high := interval(way, base)
			return fmt.Sprintf("%.2f (%.2f to %.2f)", median(way)/median(base), low, high)
		}
		fmt.Printf("| %s | %.1f | %.1f | %s | %s | %s | %s | %s |\n", part.figure, median(base), median(pool[part.figure]), beside(pool[part.figure], base),
			part.target, beside(plain[part.figure], base), beside(another[part.figure], direct[part.figure]), beside(hops[part.figure], base))
	}
	fmt.Println()
}

// ways to a real Chromium: through the pool, directly, directly to another
// server, and through two HAProxies.
type ways struct {
	*rig
	chromium      string
	all           []target
	proxy, worker target
}

func newWays(tb testing.TB) *ways {
	tb.Helper()
	r := newRig(tb)
	chromium := findChromium(tb)
	w := &ways{rig: r, chromium: chromium, worker: r.realWorker(chromium)}
	w.proxy = r.proxy()
	direct := r.launchServer("direct", chromium)
	hops := r.haproxy(r.haproxy(direct).address).address
	w.all = []target{
		{name: "through the pool", address: w.proxy.address}, {name: "direct", address: direct + wsPath},
		{name: "direct, another server", address: r.launchServer("another", chromium) + wsPath}, {name: "through two HAProxies", address: hops + wsPath},
	}
	return w
}

// addPlain adds another pool on the same Redis, which has nothing ready for a session.
func (w *ways) addPlain() {
	const pool = "--pool=plain"
	w.realWorker(w.chromium, pool, "--browser.prepare=nothing")
	w.all = append(w.all, target{name: "through a pool with nothing ready", address: w.rig.proxy(pool).address})
}

// pages has a client open 2 n pages and run n whole scripts each way, and tells how
// long the parts took, in milliseconds (medians).
func (w *ways) pages(tb testing.TB, n int) (got map[string]figures) {
	tb.Helper()
	node(tb, map[string]any{"what": "pages", "count": n, "endpoints": w.endpoints()}, &got)
	return got
}

func (w *ways) endpoints() map[string]string {
	all := map[string]string{}
	for _, t := range w.all {
		all[t.name] = "ws://" + t.address
	}
	return all
}

// realWorker starts a pwdist-worker with a real browser and waits for it.
func (r *rig) realWorker(chromium string, more ...string) target {
	r.tb.Helper()
	harness.NeedBrowser(r.tb)
	listen, admin := loopback(harness.Port(r.tb)), loopback(harness.Port(r.tb))
	p := r.start(harness.Command{
		Name: "worker", Path: harness.Binary(r.tb, "pwdist-worker"),
		Args: append([]string{
			"--listen=" + listen, "--advertise=" + listen, "--admin.listen=" + admin, "--redis.url=" + r.redis,
			"--log.level=warn", "--drain=1s", fmt.Sprintf("--slots=%d", slots), "--lifetime.sessions=0",
			"--browser.executable=" + chromium, "--playwright.dir=" + harness.PlaywrightDir(),
		}, more...),
		Env: []string{"TMPDIR=" + r.dir},
	})
	t := target{name: "pwdist-worker", admin: admin, process: p}
	r.await(p, "the worker is ready", func() bool { _, err := t.get("/readyz"); return err == nil })
	return t
}

// wsPath is where the direct servers have their endpoint.
const wsPath = "/direct"

// launchServer starts Playwright's own server with the launch options that a
// worker uses, and returns its address.
func (r *rig) launchServer(name, chromium string) string {
	r.tb.Helper()
	port := harness.Port(r.tb)
	config, err := json.Marshal(map[string]any{
		"executablePath": chromium, "headless": true, "chromiumSandbox": false, "args": []string{},
		"host": "127.0.0.1", "port": port, "wsPath": wsPath,
	})
	require.NoError(r.tb, err)
	path := filepath.Join(r.dir, name+".json")
	require.NoError(r.tb, os.WriteFile(path, config, 0o600))
	p := r.start(harness.Command{
		Name: name, Path: "node",
		Args: []string{
			filepath.Join(harness.PlaywrightDir(), "node_modules/playwright-core/cli.js"), "launch-server",
			"--browser", "chromium", "--config", path,
		},
		Env: []string{"TMPDIR=" + r.dir},
	})
	r.await(p, "the Playwright server listens", func() bool { return harness.Listens(loopback(port)) })
	return loopback(port)
}

// findChromium names one browser for both ways.
func findChromium(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatal("found no Chromium: run deploy/local/install.sh browser")
	return ""
}

// node runs the measuring client and reads its answer.
func node(tb testing.TB, ask, answer any) {
	tb.Helper()
	text, err := json.Marshal(ask)
	require.NoError(tb, err)
	cmd := exec.CommandContext(tb.Context(), "node", "bench.mjs", string(text))
	cmd.Dir = filepath.Join(harness.Root(), "tests/integration/clients/node")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(tb, err)
	require.NoError(tb, json.Unmarshal(out, answer), "%s", out)
}
