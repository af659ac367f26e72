package soak_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// What `make recycling` sets: how many sessions to serve.
const variableSessions = "PWDIST_RECYCLING"

const (
	fleet    = 10
	slots    = 5
	lifetime = 20
	// clients take four fifths of the slots, all the time.
	clients = fleet * slots * 4 / 5
	// The stand-in serves faster than a worker starts. So that the fleet goes on
	// being replaced, one worker has to be back for every so many sessions, from
	// when all lifetimes may have ended once.
	pace, settled = 75, 300
)

// TestRecycling serves many sessions on ten workers that are replaced again and
// again, each after its lifetime: four fifths of the slots stay ready at every
// moment, so clients that take no more than those never wait; nobody is refused,
// no session is cut, and each worker serves what its lifetime says.
func TestRecycling(t *testing.T) {
	sessions := 600
	if text := os.Getenv(variableSessions); text != "" {
		var err error
		sessions, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	p := harness.NewEmpty(t, harness.Options{Supervise: true, Worker: besideStandIn(t)})
	a := newAccount(p.Keys.Prefix(), fleet*slots)
	replica := p.Redis.Replicate(t, a.apply)
	p.AddProxy(t, harness.Settings{"log.level": "warn"}).AwaitReady(t)
	for range fleet {
		p.AddWorker(t, nil)
	}
	for _, w := range p.Workers {
		w.AwaitReady(t)
	}
	require.NoError(t, a.watch())
	visit(t, p.Proxy().Address, a, sessions)
	a.rest()
	p.CheckSettled(t)
	require.NoError(t, replica.Stop(), "Redis ended the stream of its writes")

	recycled := checkHistory(t, p.Log.All(), a, sessions)
	t.Logf("%d sessions, %d workers replaced; after each of %d writes at least %d of %d slots were ready and %d usable (%d times below)",
		sessions, recycled, a.pieces, a.least.ready, a.slots, a.least.usable, a.below)
	require.Greater(t, a.pieces, 2*sessions)
	require.GreaterOrEqual(t, recycled, (sessions-settled)/pace)
	require.GreaterOrEqual(t, a.least.ready*5, a.slots*4)
	require.GreaterOrEqual(t, a.least.usable*5, a.slots*4)
}

// besideStandIn are the settings of a worker whose Playwright server is a
// stand-in, which speaks no Playwright: so it is not probed, and what clients
// send is not read.
func besideStandIn(t *testing.T) harness.Settings {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	playwright := filepath.Join(t.TempDir(), "playwright")
	require.NoError(t, standin.WritePlaywright(playwright, self))
	return harness.Settings{
		"slots": strconv.Itoa(slots), "lifetime.sessions": strconv.Itoa(lifetime),
		"playwright.dir": playwright, "browser.executable": self, "browser.probe_interval": "0", "guard.enabled": "false",
		"log.level": "info",
	}
}

// visit has clients open sessions, one after the other, until there were so
// many. A client asks for its next slot when the one before is free. Most
// sessions are short. Every eighth client keeps its own while a hundred others
// come and go, so that workers retire around them.
func visit(t *testing.T, proxy string, a *account, sessions int) {
	t.Helper()
	var begun atomic.Int64
	var all sync.WaitGroup
	paced := 0
	for i := range clients {
		all.Go(func() {
			for n := int(begun.Add(1)); n <= sessions; n = int(begun.Add(1)) {
				err := func() error {
					a.mu.Lock()
					defer a.mu.Unlock()
					paced++
					defer func() { paced-- }()
					a.written.Broadcast()
					err := a.await("a worker is back", func() bool {
						return a.taken < clients && len(a.workers)-fleet >= (n-settled)/pace
					})
					a.taken++
					return err
				}()
				if err == nil {
					err = session(proxy, fmt.Sprintf("client-%d-%d", i, n), func() error {
						if i%8 != 0 {
							return nil
						}
						a.mu.Lock()
						defer a.mu.Unlock()
						until := min(a.ended+100, sessions-clients)
						// Those who wait for a worker may be waiting for this one.
						return a.await("others have come and gone", func() bool { return a.ended >= until || paced > clients/2 })
					})
				}
				if err != nil {
					t.Errorf("session %d: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// session is one of a client: it sends a message, gets it back, does what is to
// be done meanwhile, sends another one, and closes.
func session(proxy, name string, meanwhile func() error) error {
	c, err := ws.Dial("tcp", proxy, "/?name="+name, "User-Agent: Playwright/"+standin.Version+" (soak)", "x-playwright-browser: chromium")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := echo(c, ws.Text, []byte("before")); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	if err := echo(c, ws.Text, []byte("after")); err != nil {
		return err
	}
	return echo(c, ws.Close, []byte{0x03, 0xE8}) // 1000, normal
}

// echo sends a frame and reads the one that answers it.
func echo(c *ws.Conn, op byte, payload []byte) error {
	if _, err := c.Write(ws.AppendMasked(nil, op, payload)); err != nil {
		return err
	}
	for {
		h, err := c.Next()
		if err != nil {
			return err
		}
		b := make([]byte, h.Size)
		if err := c.Take(h, b); err != nil {
			return err
		}
		switch h.Op {
		case op:
			if string(b) != string(payload) {
				return fmt.Errorf("%q came back for %q", b, payload)
			}
			return nil
		case ws.Ping:
			if _, err := c.Write(ws.AppendMasked(nil, ws.Pong, b)); err != nil {
				return err
			}
		case ws.Pong: // that nobody asked for, which the protocol allows
		default:
			return fmt.Errorf("a frame of opcode %d: %q", h.Op, b)
		}
	}
}

// checkHistory goes through the log: every session was started once, on a
// worker, and ended by its client; nobody waited or was refused; and a worker
// that left had served its lifetime, and no more than that as it was prolonged,
// by whole rounds of its slots. It returns how many left.
func checkHistory(t *testing.T, events []event.Event, a *account, sessions int) (recycled int) {
	t.Helper()
	started, lifetimes := map[string]int{}, map[string]int{}
	count := map[event.Type]int{}
	for _, e := range events {
		count[e.Type]++
		switch e.Type {
		case event.WorkerJoined:
			lifetimes[e.Worker.ID] = int(e.Worker.Lifetime)
		case event.SessionStarted:
			started[e.Session.Worker]++
		case event.SessionEnded:
			require.Equal(t, event.ReasonClientClosed, e.Session.Reason, e.Session.Name)
		case event.WorkerLeft:
			require.Equal(t, "lifetime", e.Worker.Reason)
			served, first, last := started[e.Worker.ID], lifetimes[e.Worker.ID], a.workers[e.Worker.ID].lifetime
			require.GreaterOrEqual(t, served, first)
			require.LessOrEqual(t, served, last)
			require.Zero(t, (last-first)%slots, "the lifetime of %s was prolonged from %d to %d", e.Worker.ID, first, last)
			recycled++
		case event.SessionQueued, event.SessionRejected, event.WorkerLost, event.WorkerSuspect, event.WorkerUnhealthy:
			t.Errorf("%s %s", e.Type, e.Subject())
		}
	}
	require.Equal(t, sessions, count[event.SessionAssigned])
	require.Equal(t, sessions, count[event.SessionStarted])
	require.Equal(t, sessions, count[event.SessionEnded])
	return recycled
}
