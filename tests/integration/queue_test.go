package integration_test

import (
	"encoding/json"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// page is as much as these tests read of the JSON on a proxy's admin port.
type page struct {
	Held, Slots int
	Workers     []struct {
		ID, State   string
		Held, Slots int
	}
	Sessions []ticket

	Waiting, Limit int
	Classes        []struct {
		Waiting int
		Head    []ticket
	}
}

type ticket struct {
	ID, State, Name, Worker string
	Place                   int
	WaitedMS                *int64    `json:"waited_ms"`
	QueuedAt                time.Time `json:"queued_at"`
}

func (k ticket) waited() time.Duration { return time.Duration(*k.WaitedMS) * time.Millisecond }

func read(t *testing.T, s *harness.Service, name string) (got page) {
	t.Helper()
	status, body := s.Get("/api/v1/" + name)
	require.Equal(t, http.StatusOK, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), &got), body)
	return got
}

// queue names who waits, in order.
func queue(t *testing.T, s *harness.Service) (names []string) {
	t.Helper()
	for _, class := range read(t, s, "queue").Classes {
		for i, k := range class.Head {
			require.Equal(t, i+1, k.Place)
			names = append(names, k.Name)
		}
	}
	return names
}

var waitedAndPlace = regexp.MustCompile(`It waited (\S+)\. When it came it was number (\d+) in line for what it asked for; in the whole pool (\d+) waited`)

// One worker with one slot, which is taken, and a queue of three: what clients
// are told, what the admin port shows, and who gets the slot in the end.
func TestQueueAsClientsSeeIt(t *testing.T) {
	p := harness.New(t, harness.Options{
		Proxies: 2, Workers: 1, Worker: harness.Settings{"slots": "1"},
		Proxy: harness.Settings{"queue.size": "3", "queue.wait": "10m", "queue.max_wait": "10m"},
	})
	holder := harness.Connect(t, p.URL("name=holder"))
	p.Log.AwaitSession(t, "holder", event.SessionStarted)
	wait := func(n int, name, more string) *harness.Raw {
		t.Helper()
		raw := harness.Upgrade(t, p.Proxies[n].Address, "/?name="+name+more, "1.65.1", nil)
		p.Log.AwaitSession(t, name, event.SessionQueued)
		return raw
	}
	first := wait(0, "first", "")
	second := wait(1, "second", "")

	t.Run("who waited too long is told for how long and behind whom", func(t *testing.T) {
		got := wait(0, "raw", "&timeout=700ms").Answer(t)
		require.Equal(t, http.StatusServiceUnavailable, got.Status)
		require.Equal(t, "wait_timeout", got.Code())
		retryAfter(t, got)
		tellsPlace(t, got.Body, 700*time.Millisecond)
		p.Log.AwaitSession(t, "raw", event.SessionRejected)
		require.Len(t, p.Snapshot(t).Waiting, 2, "its place is given up")

		_, err := harness.TryConnect(t, p.URL("name=stock&timeout=700ms"))
		require.ErrorContains(t, err, "503")
		tellsPlace(t, err.Error(), 700*time.Millisecond)
	})

	t.Run("the admin port of every proxy shows places and times", func(t *testing.T) {
		for _, s := range p.Proxies {
			fleet := read(t, s, "fleet")
			require.Equal(t, []int{1, 1}, []int{fleet.Slots, fleet.Held})
			require.Len(t, fleet.Workers, 1)
			require.Equal(t, "ready", fleet.Workers[0].State)
			require.Equal(t, []int{1, 1}, []int{fleet.Workers[0].Slots, fleet.Workers[0].Held})

			sessions := read(t, s, "sessions").Sessions
			require.Len(t, sessions, 1)
			require.Equal(t, []string{"holder", "active", fleet.Workers[0].ID}, []string{sessions[0].Name, sessions[0].State, sessions[0].Worker})

			q := read(t, s, "queue")
			require.Equal(t, []int{2, 3}, []int{q.Waiting, q.Limit})
			require.Equal(t, []string{"first", "second"}, queue(t, s))
			head := q.Classes[0].Head
			require.Equal(t, "queued", head[0].State)
			require.False(t, head[1].QueuedAt.Before(head[0].QueuedAt))
			// Both have waited at least as long as those two who gave up since.
			require.GreaterOrEqual(t, head[1].waited(), 1400*time.Millisecond)
			require.GreaterOrEqual(t, head[0].waited(), head[1].waited())
		}
	})

	t.Run("a full queue", func(t *testing.T) {
		third := wait(1, "third", "")
		got := harness.Upgrade(t, p.Proxy().Address, "/?name=one-too-many", "1.65.1", nil).Answer(t)
		require.Equal(t, http.StatusTooManyRequests, got.Status)
		require.Equal(t, "queue_full", got.Code())
		require.Contains(t, got.Body, "3 clients wait already.")
		retryAfter(t, got)
		_, err := harness.TryConnect(t, p.URL("name=one-too-many-too"))
		require.ErrorContains(t, err, "429")
		require.ErrorContains(t, err, "All slots are taken and the queue is full. 3 clients wait already.")
		require.Equal(t, []string{"first", "second", "third"}, queue(t, p.Proxy()))
		require.NoError(t, third.Close())
		p.Log.AwaitSession(t, "third", event.SessionRejected)
	})

	// Clients would wait for ten minutes: that each of these leaves is due to nothing but its going.
	t.Run("who gives up leaves at once, and the place is free for the next", func(t *testing.T) {
		for name, give := range map[string]func(t *testing.T, name string){
			"closes": func(t *testing.T, name string) { require.NoError(t, wait(1, name, "").Close()) },
			"resets": func(t *testing.T, name string) {
				raw := wait(1, name, "")
				tcp, ok := raw.Conn.(*net.TCPConn)
				require.True(t, ok)
				require.NoError(t, tcp.SetLinger(0))
				require.NoError(t, raw.Close())
			},
			"times out": func(t *testing.T, name string) {
				_, err := harness.TryConnect(t, p.URL("name="+name), harness.ConnectOptions{Timeout: 5000})
				require.ErrorContains(t, err, "Timeout 5000ms exceeded")
				p.Log.AwaitSession(t, name, event.SessionQueued)
			},
			"is killed": func(t *testing.T, name string) {
				client := startNode(t, p.URL("name="+name))
				p.Log.AwaitSession(t, name, event.SessionQueued)
				client.Kill()
			},
		} {
			session := strings.ReplaceAll(name, " ", "-")
			give(t, session)
			require.Equal(t, event.ReasonCancelled, p.Log.AwaitSession(t, session, event.SessionRejected).Session.Reason)
			require.Equal(t, []string{"first", "second"}, queue(t, p.Proxy()))
			// The place of the one who left is the only one of the queue, so this gets it or is refused.
			next := wait(0, session+"-next", "")
			require.Equal(t, []string{"first", "second", session + "-next"}, queue(t, p.Proxy()))
			require.NoError(t, next.Close())
			p.Log.AwaitSession(t, session+"-next", event.SessionRejected)
		}
	})

	// A client that leaves from the head of the queue is passed over: the slot goes to who came next.
	require.NoError(t, first.Close())
	p.Log.AwaitSession(t, "first", event.SessionRejected)
	last := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=last"), "http://example.com/")
		last <- err
	}()
	p.Log.AwaitSession(t, "last", event.SessionQueued)
	require.NoError(t, holder.Close())
	require.Equal(t, http.StatusSwitchingProtocols, second.Answer(t).Status)
	require.Equal(t, []string{"last"}, queue(t, p.Proxy()))
	require.NoError(t, second.Close())
	require.NoError(t, <-last)
	for _, e := range p.Log.All() {
		if e.Type == event.SessionAssigned {
			require.Contains(t, []string{"holder", "second", "last"}, e.Session.Name)
		}
	}
}

// startNode runs a stock client of its own process that connects.
func startNode(t *testing.T, url string) *harness.Process {
	t.Helper()
	client := harness.Start(t, t.TempDir(), harness.Command{
		Name: "node", Path: "node", Dir: harness.NodeDir(), Env: []string{"URL=" + url},
		Args: []string{"--input-type=module", "--eval", "import { chromium } from 'playwright'; await chromium.connect(process.env.URL)"},
	})
	t.Cleanup(client.Kill)
	return client
}

func retryAfter(t *testing.T, got harness.Answer) {
	t.Helper()
	seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
}

// tellsPlace finds in a refusal that the client waited, and as the third of three.
func tellsPlace(t *testing.T, text string, least time.Duration) {
	t.Helper()
	m := waitedAndPlace.FindStringSubmatch(text)
	require.NotNil(t, m, text)
	waited, err := time.ParseDuration(m[1])
	require.NoError(t, err)
	require.GreaterOrEqual(t, waited, least)
	require.Equal(t, []string{"3", "3"}, m[2:], text)
}

// Whoever comes while there is no browser that could serve, and one may come,
// waits for it with a stock client that knows nothing of all this.
func TestClientsWaitForABrowser(t *testing.T) {
	come := func(t *testing.T, p *harness.Pool, name string) <-chan error {
		t.Helper()
		served := make(chan error, 1)
		go func() {
			title, err := harness.Visit(t, p.URL("name="+name), "http://example.com/")
			if err == nil && title != harness.ExampleTitle {
				t.Errorf("%s: %q", name, title)
			}
			served <- err
		}()
		p.Log.AwaitSession(t, name, event.SessionQueued)
		return served
	}
	patient := harness.Settings{"queue.wait": "2m"}

	t.Run("that is scaled to zero", func(t *testing.T) {
		harness.NeedBrowser(t)
		// From nothing, and for so long that no worker is on its way back from a reset.
		p := harness.New(t, harness.Options{Common: harness.ShortLease(), Proxy: patient, Worker: harness.Settings{"slots": "1"}})
		reset := p.Log.Await(t, "the pool begins", func(e event.Event) bool { return e.Type == event.PoolReset })
		harness.Await(t, "the pool is a lease old", func() bool { return time.Since(reset.At) > 5*time.Second })
		one, two := come(t, p, "one"), come(t, p, "two")
		require.Equal(t, []string{"one", "two"}, queue(t, p.Proxy()))
		require.Empty(t, read(t, p.Proxy(), "fleet").Workers)
		w := p.AddWorker(t, nil)
		require.NoError(t, <-one)
		require.NoError(t, <-two)

		// And again, when the last worker has gone.
		w.Process().Signal(t, syscall.SIGTERM)
		require.Zero(t, w.Process().ExitCode(t, harness.Patience))
		require.Equal(t, 1, p.Log.Count(event.WorkerLeft))
		three := come(t, p, "three")
		w.Start(t)
		require.NoError(t, <-three)
		require.Zero(t, p.Log.Count(event.SessionRejected))
	})

	t.Run("that is starting", func(t *testing.T) {
		harness.NeedBrowser(t)
		p := harness.New(t, harness.Options{Proxy: patient})
		w := p.AddWorker(t, nil)
		// Held in the middle of its start, so that the client comes then on any machine.
		harness.Await(t, "the worker starts its browser", func() bool { return len(w.Process().Descendants()) > 0 })
		w.Process().Signal(t, syscall.SIGSTOP)
		early := come(t, p, "early")
		w.Process().Signal(t, syscall.SIGCONT)
		require.NoError(t, <-early)
		require.Zero(t, p.Log.Count(event.SessionRejected))
	})

	t.Run("that starts again after a crash", func(t *testing.T) {
		p := harness.New(t, harness.Options{Workers: 1, Proxy: patient})
		family := p.Workers[0].Process().Descendants()
		killBrowser(t, family)
		p.Log.Await(t, "the worker says so", func(e event.Event) bool { return e.Type == event.WorkerUnhealthy })
		_, err := harness.Visit(t, p.URL("name=after"), "http://example.com/")
		require.NoError(t, err)
		require.Zero(t, p.Log.Count(event.SessionRejected))
	})

	t.Run("that is recycled", func(t *testing.T) {
		p := harness.New(t, harness.Options{
			Workers: 1, Supervise: true, Proxy: patient,
			Worker: harness.Settings{"lifetime.sessions": "1", "slots": "1"},
		})
		holder := harness.Connect(t, p.URL("name=holder"))
		first := p.WorkerID(p.Workers[0])
		p.Log.Await(t, "the worker retires", func(e event.Event) bool { return e.Type == event.WorkerRetiring })
		next, last := come(t, p, "next"), come(t, p, "last")
		require.NoError(t, holder.Close())
		require.NoError(t, <-next)
		require.NoError(t, <-last)
		served := map[string]bool{first: true}
		for _, name := range []string{"next", "last"} {
			served[p.Log.AwaitSession(t, name, event.SessionStarted).Session.Worker] = true
		}
		require.Len(t, served, 3, "each by a worker of its own")
		require.Zero(t, p.Log.Count(event.SessionRejected))
	})
}
