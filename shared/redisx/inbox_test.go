package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

const inboxKey = "{pwdist:test}:inbox:p1"

// send puts entries into the inbox.
func (s *server) send(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		s.admin("XADD", inboxKey, "*", "text", text)
	}
}

// reader collects what ReadInbox hands over.
type reader struct {
	t    *testing.T
	got  chan string
	mu   sync.Mutex
	fail map[string]int // how often to refuse a text
}

func newReader(t *testing.T) *reader {
	return &reader{t: t, got: make(chan string, 1000), fail: map[string]int{}}
}

var errNotNow = errors.New("not now")

func (r *reader) handle(e redisx.InboxEntry) error {
	text := e.Fields["text"]
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail[text] > 0 {
		r.fail[text]--
		return errNotNow
	}
	if !strings.Contains(e.ID, "-") {
		r.t.Errorf("no id: %q", e.ID)
	}
	r.got <- text
	return nil
}

// want waits for exactly these texts in this order.
func (r *reader) want(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		select {
		case got := <-r.got:
			require.Equal(r.t, text, got)
		case <-time.After(15 * time.Second):
			require.Fail(r.t, "not handed over", text)
		}
	}
}

// read starts ReadInbox.
func (r *reader) read(url string, log *zap.Logger) (stop func()) {
	c := connect(r.t, url)
	return background(r.t, func(ctx context.Context) {
		if err := redisx.ReadInbox(ctx, c, inboxKey, r.handle, log); !errors.Is(err, context.Canceled) {
			r.t.Errorf("ended with %v", err)
		}
	})
}

// empties waits until the inbox is empty.
func (s *server) empties() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.admin("XLEN", inboxKey) == "0" }, 10*time.Second, 20*time.Millisecond)
}

func TestInboxHandsOverInOrderAndDeletes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.send("before 1", "before 2")
	r := newReader(t)
	r.read(s.url(), zap.NewNop())
	r.want("before 1", "before 2")
	s.empties()
	s.send("after")
	r.want("after")
	s.empties()
}

func TestInboxHandsOverMoreThanOneBatch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.admin("EVAL", "for i = 1, 500 do redis.call('XADD', KEYS[1], '*', 'text', i) end", "1", inboxKey)
	r := newReader(t)
	r.read(s.url(), zap.NewNop())
	for i := range 500 {
		r.want(fmt.Sprint(i + 1))
	}
	s.empties()
}

// TestInboxIsRead while nothing is there for longer than a blocking read, and
// at once when something comes.
func TestInboxWakesAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReader(t)
	r.read(s.url(), zap.NewNop())
	require.Eventually(t, func() bool { return strings.Contains(s.admin("CLIENT", "LIST"), "cmd=xread") }, 5*time.Second, 10*time.Millisecond)
	began := time.Now()
	s.send("x")
	r.want("x")
	require.Less(t, time.Since(began), time.Second)
}

// TestInboxKeepsWhatWasNotHandled and hands it over again, without holding up
// what is behind it.
func TestInboxKeepsWhatWasNotHandled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.send("sticky", "behind")
	r := newReader(t)
	r.fail["sticky"] = 3
	log, seen := logs()
	began := time.Now()
	r.read(s.url(), log)
	r.want("behind", "sticky")
	require.Greater(t, time.Since(began), 500*time.Millisecond, "the wait between attempts grows: 100, 200, 400 ms less a fifth")
	s.empties()
	require.Empty(t, r.got)
	require.Equal(t, 3, seen.FilterMessageSnippet("cannot handle").Len())
}

// TestInboxSurvives losing its connection in every way; nothing is lost and
// nothing comes twice.
func TestInboxSurvives(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		upset func(s *server)
	}{
		{"connection cut", func(s *server) { s.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }},
		{"killed and restarted empty", func(s *server) { s.kill(); s.start() }},
		{"flushed", func(s *server) { s.admin("FLUSHALL") }},
		{"frozen for a moment", func(s *server) { s.freeze(); time.AfterFunc(200*time.Millisecond, s.thaw) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := newReader(t)
			r.read(s.url(), zap.NewNop())
			s.send("1")
			r.want("1")
			s.empties()
			tt.upset(s)
			s.send("2")
			r.want("2")
			s.empties()
			require.Empty(t, r.got)
		})
	}
}

// TestInboxLeavesARedisThatIsAway before its blocking read would end.
func TestInboxLeavesARedisThatIsAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReader(t)
	log, seen := logs()
	r.read(s.url(), log)
	s.send("1")
	r.want("1")
	require.Eventually(t, func() bool { return strings.Contains(s.admin("CLIENT", "LIST"), "cmd=xread") }, 5*time.Second, 10*time.Millisecond)
	s.freeze()
	require.Eventually(t, func() bool { return seen.FilterMessageSnippet("cannot read the inbox").Len() == 1 }, 8*time.Second, 10*time.Millisecond,
		"noticed within three seconds; the read would take eleven")
	s.thaw()
	s.send("2")
	r.want("2")
}

// TestInboxHandlesOnceWhenTheDeletionFails: the entry is still there, but it
// was done.
func TestInboxHandlesOnceWhenTheDeletionFails(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReader(t)
	log, seen := logs()
	r.read(s.url(), log)
	// In one step: the entry comes, and from then on writes wait, so that the
	// deletion runs into its time limit.
	c := connect(t, s.url())
	for _, result := range c.DoMulti(context.Background(),
		c.B().Multi().Build(),
		c.B().Xadd().Key(inboxKey).Id("*").FieldValue().FieldValue("text", "1").Build(),
		c.B().Arbitrary("CLIENT", "PAUSE", "60000", "WRITE").Build(),
		c.B().Exec().Build(),
	) {
		require.NoError(t, result.Error())
	}
	r.want("1")
	require.Eventually(t, func() bool { return seen.FilterMessageSnippet("cannot read the inbox").Len() > 0 }, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "1", s.admin("XLEN", inboxKey))
	s.admin("CLIENT", "UNPAUSE")
	s.empties()
	require.Empty(t, r.got)
}

func TestInboxStopsAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReader(t)
	stop := r.read(s.url(), zap.NewNop())
	require.Eventually(t, func() bool { return strings.Contains(s.admin("CLIENT", "LIST"), "cmd=xread") }, 5*time.Second, 10*time.Millisecond)
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 2*time.Second)
	require.Eventually(t, func() bool { return !strings.Contains(s.admin("CLIENT", "LIST"), "cmd=xread") }, 5*time.Second, 10*time.Millisecond, "its connection is closed")
}

func TestInboxEndsWithoutPermission(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.admin("ACL", "SETUSER", "reader", "on", ">hush", "~*", "&*", "+@all", "-xread")
	c := connect(t, "redis://reader:hush@"+s.addr())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := redisx.ReadInbox(ctx, c, inboxKey, func(redisx.InboxEntry) error { return nil }, zap.NewNop())
	require.True(t, redisx.IsSetup(err), "%v", err)
	require.ErrorContains(t, err, "xread")
}

// TestIdleCommands: a process with nothing to do is nearly silent.
func TestIdleCommands(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReader(t)
	r.read(s.url(), zap.NewNop())
	w, _ := watch(t, s, zap.NewNop())
	takeResync(t, w)
	var seen map[string]int
	var took time.Duration
	// Again when somebody has connected anew meanwhile, on a machine that stood still.
	for try := 1; ; try++ {
		require.Eventually(t, func() bool { return strings.Contains(s.admin("CLIENT", "LIST"), "cmd=xread") }, 10*time.Second, 10*time.Millisecond)
		before := connections(s)
		s.admin("CONFIG", "RESETSTAT")
		began := time.Now()
		const pings = 8
		require.Eventually(t, func() bool { return commands(s)["ping"] >= pings }, 20*time.Second, 200*time.Millisecond)
		took, seen = time.Since(began), commands(s)
		if try == 3 || slices.Equal(before, connections(s)) {
			break
		}
	}
	for name, calls := range seen {
		switch name {
		case "ping": // two clients and a subscription
			require.LessOrEqual(t, calls, int(took/(800*time.Millisecond)+1)*3)
		case "hello", "eval": // the two clients, with their pings
			require.LessOrEqual(t, calls, int(took/(800*time.Millisecond)+1)*2)
		case "xread":
			require.LessOrEqual(t, calls, 1)
		case "info", "client|list", "config|resetstat": // ours
		default:
			require.Fail(t, "a command that nobody needs", name)
		}
	}
}

// connections are those of the code under test, by their numbers.
func connections(s *server) (ids []string) {
	for line := range strings.Lines(s.admin("CLIENT", "LIST")) {
		if strings.Contains(line, " name=test ") {
			id, _, _ := strings.Cut(line, " ")
			ids = append(ids, id)
		}
	}
	return ids
}

// commands counts the calls since the last reset.
func commands(s *server) map[string]int {
	calls := map[string]int{}
	for line := range strings.SplitSeq(s.admin("INFO", "commandstats"), "\n") {
		line = strings.TrimSpace(line)
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); ok && err == nil {
			calls[name] = n
		}
	}
	return calls
}
