package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Nothing polls: while nobody uses the pool, the only commands that Redis gets
// are heartbeats, one per process and beat, blocking reads, and PINGs with the
// HELLO that goes along to tell a replica from a primary.
func TestIdlePoolIsSilent(t *testing.T) {
	const beat = time.Second // as harness.Quick has it
	p := harness.New(t, harness.Options{Proxies: 2, Workers: 1})
	serves(t, p, "before")
	p.CheckSettled(t)

	// The first use of a script sends its text; after two beats all is routine.
	watch(t, p, 2)
	before := losses(p)
	seen, took := watch(t, p, 4)
	// On a machine that stood still, somebody may have lost Redis and connected anew.
	for try := 1; try < 3 && losses(p) > before; try++ {
		watch(t, p, 2)
		before = losses(p)
		seen, took = watch(t, p, 4)
	}
	require.Greater(t, took, 2*beat)

	for _, s := range seen {
		require.Contains(t, []string{"FCALL", "EVAL", "XREAD", "PING", "HELLO"}, s.Command, s.Line)
		if s.Command == "EVAL" {
			require.Contains(t, s.Line, `return 1" "0"`, "it asks whether Redis takes writes, and makes none")
		}
		if s.Command == "XREAD" {
			require.Contains(t, strings.ToUpper(s.Line), `"BLOCK"`, s.Line)
		}
	}
	most := int(took/beat) + 1
	for client, n := range count(seen, "FCALL") {
		require.LessOrEqual(t, n, most, "heartbeats of %s in %s", client, took)
	}
	// A blocking read lasts long, or it would be a poll by another name.
	for client, n := range count(seen, "XREAD") {
		require.LessOrEqual(t, n, 1+int(took/(5*time.Second)), "blocking reads of %s in %s", client, took)
	}
	// A connection is tried after a second of silence.
	for _, command := range []string{"PING", "HELLO", "EVAL"} {
		for client, n := range count(seen, command) {
			require.LessOrEqual(t, n, 2*most, "%ss of %s in %s", command, client, took)
		}
	}
	t.Logf("in %s: %d heartbeats, %d blocking reads, %d PINGs of three processes", took.Round(time.Millisecond),
		sum(count(seen, "FCALL")), sum(count(seen, "XREAD")), sum(count(seen, "PING")))
}

// losses is how often the processes have said that a connection to Redis is lost.
func losses(p *harness.Pool) (n int) {
	for _, s := range append(p.Proxies[:2:2], p.Workers...) {
		for _, line := range []string{"lost Redis", "cannot read the inbox", "lost the subscription"} {
			n += strings.Count(s.Process().Output(), line)
		}
	}
	return n
}

// watch records the commands until each of the three processes has sent so many
// heartbeats.
func watch(t *testing.T, p *harness.Pool, beats int) (seen []harness.Seen, took time.Duration) {
	t.Helper()
	begin := time.Now()
	m := p.Redis.Monitor(t)
	harness.Await(t, "each process has sent its heartbeats", func() bool {
		done := 0
		for _, n := range count(m.Seen(), "FCALL") {
			if n >= beats {
				done++
			}
		}
		return done == 3
	})
	return m.Stop(), time.Since(begin)
}

// count counts the commands of each connection.
func count(seen []harness.Seen, command string) map[string]int {
	n := map[string]int{}
	for _, s := range seen {
		if s.Command == command {
			n[s.Client]++
		}
	}
	return n
}

func sum(counts map[string]int) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}
