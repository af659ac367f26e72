package event

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files and docs/events.md anew")

// sample is an event with its golden files testdata/<name>.fields and .json.
type sample struct {
	name  string
	about string
	event Event
}

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

func samples() []sample {
	const base = 1789000000000
	n := int64(0)
	ev := func(typ Type, subject, suffix string, e Event) Event {
		n++
		e.StreamID = strconv.FormatInt(base+n*1000, 10) + "-0"
		e.Version, e.Type, e.Pool = 1, typ, "default"
		e.ID = subject + ":" + string(typ) + ":" + suffix
		e.At = ms(base + n*1000)
		return e
	}
	const worker, proxy, session = "w-7f3a9c21", "p-51d0e8b4", "s-0b6c2d94e1f8"
	part := func(reason string, number int64) *Worker {
		return &Worker{ID: worker, Browser: "chromium", BrowserVersion: "140.0.7339.16", Playwright: "1.65.1",
			Reason: reason, Number: number}
	}
	joined := part("", 1)
	joined.Endpoint, joined.Flavour, joined.Slots, joined.Lifetime = "10.0.0.7:3131", "f-2b90", 5, 52
	joined.Labels, joined.Isolation = map[string]string{"gpu": "no", "zone": "eu-1"}, []string{"context", "browser"}
	back := part("", 4)
	back.Endpoint, back.Flavour, back.State, back.Slots = "10.0.0.7:3131", "f-2b90", Retiring, 5

	who := func(attempt int64) *Session {
		s := &Session{ID: session, Proxy: proxy, Attempt: attempt, Browser: "chromium", Playwright: "1.65",
			Name: "checkout <eu>", Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.10"}
		if attempt > 0 {
			s.Worker, s.BrowserVersion, s.Playwright = worker, "140.0.7339.16", "1.65.1"
		}
		return s
	}
	queued := who(0)
	queued.Class, queued.Seq = "c-9f21", 1042
	assigned := who(1)
	assigned.Queued = 1250 * time.Millisecond
	started := who(1)
	started.Connect = 38 * time.Millisecond
	adopted := who(1)
	ended := who(1)
	ended.Reason, ended.Queued, ended.Connect = ReasonClientClosed, 1250*time.Millisecond, 38*time.Millisecond
	ended.Active, ended.Started = 92417*time.Millisecond, true
	ended.BytesUp, ended.BytesDown, ended.MessagesUp, ended.MessagesDown = 48213, 1730554, 322, 911
	unstarted := who(2)
	unstarted.Worker, unstarted.BrowserVersion = "", ""
	unstarted.Reason, unstarted.Queued = ReasonWaitTimeout, 30*time.Second
	rejected := who(0)
	rejected.Reason, rejected.Queued = ReasonQueueFull, 0

	const epoch = "1789000001000-482113"
	late := ev(SessionEnded, session, "1", Event{Session: ended})
	late.Happened = late.At.Add(-7300 * time.Millisecond)
	lateStart := ev(SessionStarted, session, "1", Event{Session: adopted})
	lateStart.Happened = lateStart.At.Add(-60 * time.Second)

	return []sample{
		{"pool.reset", "", ev(PoolReset, "default", epoch, Event{Epoch: &Epoch{ID: epoch}})},
		{"pool.resumed", "", ev(PoolResumed, "default", "1789000004000", Event{Epoch: &Epoch{ID: epoch, Gap: 42 * time.Second}})},
		{"worker.joined", "", ev(WorkerJoined, worker, "1", Event{Worker: joined})},
		{"worker.joined-retiring", "a worker that comes back after Redis lost its data, while it retires", ev(WorkerJoined, worker, "4", Event{Worker: back})},
		{"worker.suspect", "", ev(WorkerSuspect, worker, "12", Event{Worker: part("dial_failed", 12)})},
		{"worker.unhealthy", "", ev(WorkerUnhealthy, worker, "20", Event{Worker: part("browser_crashed", 20)})},
		{"worker.ready", "", ev(WorkerReady, worker, "21", Event{Worker: part("", 21)})},
		{"worker.retiring", "", ev(WorkerRetiring, worker, "300", Event{Worker: part("lifetime", 300)})},
		{"worker.left", "", ev(WorkerLeft, worker, "318", Event{Worker: part("lifetime", 318)})},
		{"worker.lost", "", ev(WorkerLost, worker, "318", Event{Worker: part("lease_expired", 318)})},
		{"session.queued", "", ev(SessionQueued, session, "0", Event{Session: queued})},
		{"session.assigned", "", ev(SessionAssigned, session, "1", Event{Session: assigned})},
		{"session.started", "", ev(SessionStarted, session, "1", Event{Session: started})},
		{"session.started-late", "a session that its worker brought back after Redis lost its data", lateStart},
		{"session.ended", "", ev(SessionEnded, session, "1", Event{Session: ended})},
		{"session.ended-late", "an end that the worker could report only when Redis was back", late},
		{"session.ended-unstarted", "a session whose assignments failed and which then waited in vain", ev(SessionEnded, session, "2", Event{Session: unstarted})},
		{"session.rejected", "", ev(SessionRejected, session, "0", Event{Session: rejected})},
	}
}

func TestGolden(t *testing.T) {
	covered := map[Type]bool{}
	for _, s := range samples() {
		covered[s.event.Type] = true
		t.Run(s.name, func(t *testing.T) {
			line, err := s.event.MarshalJSON()
			require.NoError(t, err)
			golden(t, s.name+".fields", flat(s.event.Fields()))
			golden(t, s.name+".json", string(line)+"\n")

			fields := readFields(t, s.name)
			require.NoError(t, Conform(fields))
			got, err := Parse(s.event.StreamID, fields)
			require.NoError(t, err)
			require.Equal(t, s.event, got)

			var back Event
			require.NoError(t, json.Unmarshal(line, &back))
			require.Equal(t, s.event, back)
		})
	}
	for _, typ := range Types() {
		require.True(t, covered[typ], "no golden file for %s", typ)
	}
	files, err := filepath.Glob("testdata/*.*")
	require.NoError(t, err)
	require.Len(t, files, 2*len(samples()), "testdata holds files that no sample writes")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test ./event -update")
	require.Equal(t, string(want), got)
}

// flat writes fields one to a line as name=value.
func flat(fields []Field) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f.Name + "=" + f.Value + "\n")
	}
	return b.String()
}

func readFields(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".fields"))
	require.NoError(t, err)
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		require.True(t, ok, line)
		fields[name] = value
	}
	return fields
}
