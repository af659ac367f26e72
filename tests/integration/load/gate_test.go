package load_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// benchGate measures the second hop alone: a real worker whose Playwright server
// is a stand-in on a Unix socket, beside HAProxy before another such socket. The
// load generator is the proxy here, with an assignment for every session.
func benchGate(t *testing.T) {
	r := newRig(t)
	ours := r.worker(10 * smallConns)
	socket := filepath.Join(r.dir, "standin.sock")
	r.runStandIn(standin.Options{Listen: socket})
	targets := []target{ours, r.haproxy("unix@" + socket)}
	assign := r.assigner()
	open := func(conns int) func(target) []*ws.Conn {
		return func(to target) []*ws.Conn {
			return openAll(t, conns, func() (*ws.Conn, error) {
				headers := asClient
				if to.name == ours.name {
					more, err := assign()
					if err != nil {
						return nil, err
					}
					headers = slices.Concat(more, asClient)
				}
				return ws.Dial("tcp", to.address, "/session", headers...)
			})
		}
	}
	medians := smallFigures(t, targets, open(smallConns), "gate")
	table("The worker's gate, small round trips: 200 bytes, 64 connections", targets, medians,
		row{"round trips/s", "%.0f", ""}, row{"p50 µs", "%.0f", ""}, row{"p99 µs", "%.0f", ""},
		row{"CPU-s per million round trips", "%.2f", "≤ 1.3"})
	bulk(t, targets, open(bulkConns), "gate-bulk", "The worker's gate, bulk",
		row{"MB/s", "%.0f", ""}, row{"CPU-s per GB", "%.3f", ""})
}

// worker starts a pwdist-worker before a stand-in and returns when the pool
// knows it.
func (r *rig) worker(slots int) target {
	r.tb.Helper()
	self, err := os.Executable()
	require.NoError(r.tb, err)
	playwright := filepath.Join(r.dir, "playwright")
	require.NoError(r.tb, standin.WritePlaywright(playwright, self))
	listen, admin := loopback(harness.Port(r.tb)), loopback(harness.Port(r.tb))
	p := r.start(harness.Command{
		Name: "worker", Path: harness.Binary(r.tb, "pwdist-worker"),
		Args: []string{
			"--listen=" + listen, "--advertise=" + listen, "--admin.listen=" + admin, "--redis.url=" + r.redis,
			"--log.level=warn", "--drain=1s", "--slots=" + strconv.Itoa(slots), "--lifetime.sessions=0",
			// There is none, but the worker looks for it.
			"--browser.executable=" + self, "--playwright.dir=" + playwright,
			// It echoes, so it cannot open the page of a probe.
			"--browser.probe_interval=0",
			// Nor is what it is sent Playwright's protocol, which is all that the guard lets
			// through. What the guard costs is measured by BenchmarkGuardedRoundTrip.
			"--guard.enabled=false",
		},
		Env: []string{"TMPDIR=" + r.dir},
	})
	t := target{name: "pwdist-worker", address: listen, admin: admin, process: p}
	r.await(p, "the worker is ready", func() bool { _, err := t.get("/readyz"); return err == nil })
	return t
}

// assigner returns a function that has the pool assign one more session, as a
// proxy does, and returns the headers that name it.
func (r *rig) assigner() func() ([]string, error) {
	r.tb.Helper()
	pool, err := keys.For("default")
	require.NoError(r.tb, err)
	store, err := state.New(r.client(), pool, state.DefaultOptions(), nil)
	require.NoError(r.tb, err)
	const proxy = "load"
	_, err = store.ProxyHeartbeat(r.tb.Context(), proxy, "")
	require.NoError(r.tb, err)
	return func() ([]string, error) {
		got, err := store.Acquire(r.tb.Context(), state.Request{Session: rand.Text(), Proxy: proxy, Demand: state.Demand{Browser: "chromium"}})
		if err != nil {
			return nil, err
		}
		if got.Phase != state.Assigned {
			return nil, fmt.Errorf("the session is not assigned but %s (%s)", got.Phase, got.Reason)
		}
		return []string{
			"x-pwdist-session: " + got.Grant.Session, "x-pwdist-attempt: " + strconv.Itoa(got.Grant.Attempt), "x-pwdist-proxy: " + proxy,
		}, nil
	}
}
