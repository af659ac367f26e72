package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const docsPath = "../../docs/events.md"

var typeDocs = map[Type]string{
	PoolReset:       "Opens a log: Redis holds a new, empty data set, because the pool is new or because Redis lost its data. What earlier events said about workers and sessions no longer holds; those that live on are told anew.",
	PoolResumed:     "Nobody could write for a while, for instance because Redis was down. Nothing was judged lost because of that gap.",
	WorkerJoined:    "A worker came into the pool, or came back after Redis lost its data.",
	WorkerSuspect:   "A proxy could not reach the worker, its next boot is taking its place, or it is about to tell again of sessions that a failover of Redis lost. It gets no new sessions until its next heartbeat.",
	WorkerUnhealthy: "The worker's browser does not work at the moment. It gets no new sessions.",
	WorkerReady:     "The worker is suspect or unhealthy no longer.",
	WorkerRetiring:  "The worker takes no more sessions, finishes those that it has, and leaves.",
	WorkerLeft:      "The worker has gone in an orderly way.",
	WorkerLost:      "The worker stopped sending heartbeats, or a new one took its endpoint. Its active sessions stay until their own end is recorded.",
	SessionQueued:   "A client waits for a slot. Comes again, with the number of the attempt that failed, when an assigned session goes back to its old place in the queue.",
	SessionAssigned: "The session has a slot of a worker. Comes again with the next attempt when that worker could not be reached.",
	SessionStarted:  "The client is connected to its browser.",
	SessionEnded:    "The last event of a session that was ever assigned; there is exactly one.",
	SessionRejected: "The last event of a session that never had a slot.",
}

var reasonDocs = map[Reason]string{
	ReasonClientClosed:   "the client closed its connection",
	ReasonWorkerClosed:   "the browser server closed the connection",
	ReasonWorkerDrained:  "the worker was stopped and its drain deadline passed",
	ReasonWorkerLost:     "the worker is gone",
	ReasonBrowserCrashed: "the browser died",
	ReasonBrowserHung:    "the browser stopped answering and was killed",
	ReasonProxyLost:      "the proxy is gone",
	ReasonProxyDrained:   "the proxy was stopped and its drain deadline passed",
	ReasonLeaseExpired:   "assigned, but not started in time",
	ReasonDialFailed:     "no worker could be reached",
	ReasonKilled:         "the pool had ended it before, and Redis lost that end. Kept also for ending a session by hand, which there is not yet",
	ReasonStalled:        "one side did not read for longer than the stall limit",
	ReasonIdleTimeout:    "the client sent nothing for longer than `session.idle`",
	ReasonMaxDuration:    "the session ran for longer than `session.max_duration`",
	ReasonPolicy:         "the client made a call that the pool forbids",
	ReasonCancelled:      "the client left before its session started",
	ReasonWaitTimeout:    "waited for a slot for longer than allowed",
	ReasonQueueFull:      "there was no place in the queue",
	ReasonTokenLimit:     "the client's token has as many sessions as it may",
	ReasonTokenQueue:     "the client's token has as many waiting sessions as it may",
}

func TestDocsAreCurrent(t *testing.T) {
	data, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	want := string(data)
	for name, text := range map[string]string{"header": headerTable(), "types": typeSections(t), "reasons": reasonTable(t)} {
		begin, end := "<!-- generated: "+name+" -->\n", "<!-- end: "+name+" -->\n"
		head, rest, ok := strings.Cut(want, begin)
		require.True(t, ok, "no %q in %s", begin, docsPath)
		_, tail, ok := strings.Cut(rest, end)
		require.True(t, ok, "no %q in %s", end, docsPath)
		want = head + begin + "\n" + text + "\n" + end + tail
	}
	if *update {
		require.NoError(t, os.WriteFile(docsPath, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(data), "%s is stale: run go test ./event -update", docsPath)
}

func headerTable() string {
	var b strings.Builder
	b.WriteString("| field | | meaning |\n|---|---|---|\n")
	for _, h := range headerFields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", h.name, h.format, h.doc)
	}
	return b.String()
}

func reasonTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| reason | meaning |\n|---|---|\n")
	for _, r := range Reasons() {
		require.NotEmpty(t, reasonDocs[r], r)
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, reasonDocs[r])
	}
	return b.String()
}

func typeSections(t *testing.T) string {
	var b strings.Builder
	for _, typ := range Types() {
		require.NotEmpty(t, typeDocs[typ], typ)
		fmt.Fprintf(&b, "### %s\n\n%s\n\n| field | | | meaning |\n|---|---|---|---|\n", typ, typeDocs[typ])
		e := Event{Type: typ}
		e.addPart()
		for _, f := range fieldsOf(typ.Family()) {
			n := f.in(typ)
			if n == absent {
				continue
			}
			always := "always"
			if n == optional {
				always = "optional"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, formatName(f.of(&e)), always, f.doc)
		}
		for _, s := range samples() {
			if s.event.Type != typ {
				continue
			}
			about := "Example"
			if s.about != "" {
				about += ", " + s.about
			}
			fmt.Fprintf(&b, "\n%s:\n\n```json\n%s\n```\n", about, wrapped(t, s.name))
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// wrapped is the golden JSON line of a sample, one field to a line.
func wrapped(t *testing.T, name string) string {
	line, err := os.ReadFile("testdata/" + name + ".json")
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, bytes.TrimSpace(line), "", "  "))
	return b.String()
}
