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
	a.watch(t)
	visit(t, p.Proxy().Address, sessions)
	a.rest()
	p.CheckSettled(t)
	require.NoError(t, replica.Stop(), "Redis ended the stream of its writes")

	recycled := checkHistory(t, p.Log.All(), sessions)
	t.Logf("%d sessions, %d workers replaced; after each of %d writes at least %d of %d slots were ready and %d usable (%d times below)",
		sessions, recycled, a.pieces, a.least.ready, a.slots, a.least.usable, a.below)
	require.Greater(t, a.pieces, 3*sessions)
	require.GreaterOrEqual(t, recycled, sessions/lifetime/3)
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
// many. Most are short. Every eighth client keeps its sessions while a hundred
// others come and go, so that workers retire around them.
func visit(t *testing.T, proxy string, sessions int) {
	t.Helper()
	var begun, over atomic.Int64
	var mu sync.Mutex
	passed := sync.NewCond(&mu)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for {
				n := begun.Add(1)
				if n > int64(sessions) {
					return
				}
				if err := session(proxy, fmt.Sprintf("client-%d-%d", i, n), func() {
					if i%8 != 0 {
						return
					}
					until := min(over.Load()+100, int64(sessions-clients))
					mu.Lock()
					defer mu.Unlock()
					for over.Load() < until {
						passed.Wait()
					}
				}); err != nil {
					t.Errorf("session %d: %v", n, err)
				}
				mu.Lock()
				over.Add(1)
				passed.Broadcast()
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// session is one of a client: it sends a message, gets it back, does what is to
// be done meanwhile, sends another one, and closes.
func session(proxy, name string, meanwhile func()) error {
	c, err := ws.Dial("tcp", proxy, "/?name="+name, "User-Agent: Playwright/"+standin.Version+" (soak)", "x-playwright-browser: chromium")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := echo(c, ws.Text, []byte("before")); err != nil {
		return err
	}
	meanwhile()
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
		default:
			return fmt.Errorf("a frame of opcode %d: %q", h.Op, b)
		}
	}
}

// checkHistory goes through the log: every session was started once, on a
// worker, and ended by its client; nobody waited or was refused; and a worker
// that left had served its lifetime, or whole rounds of its slots more. It
// returns how many left.
func checkHistory(t *testing.T, events []event.Event, sessions int) (recycled int) {
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
			served, life := started[e.Worker.ID], lifetimes[e.Worker.ID]
			require.GreaterOrEqual(t, served, life)
			require.Zero(t, (served-life)%slots, "worker %s served %d sessions with a lifetime of %d", e.Worker.ID, served, life)
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
