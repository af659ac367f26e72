package redisx_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

const probeKey = "{pwdist:test}:probe:1"

// flags are the notifications that are on, in one order.
func flags(s *server) string {
	b := []byte(s.admin("CONFIG", "GET", "notify-keyspace-events"))
	b = b[len("notify-keyspace-events"):]
	slices.Sort(b)
	return string(b[1:]) // without the line break
}

// TestFlagsThatAreOnStayAsTheyAre, so that nothing is written without need.
func TestFlagsThatAreOnStayAsTheyAre(t *testing.T) {
	for _, flags := range []string{"Kghx", "AK", "AKE", "xKgh$", "KA"} {
		require.Equal(t, flags, redisx.AddFlags(flags))
	}
	require.Equal(t, "AEK", redisx.AddFlags("AE"))
	require.Equal(t, "gExKh", redisx.AddFlags("gEx"))
}

func ensure(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return redisx.EnsureNotifications(ctx, connect(t, url), probeKey, zap.NewNop())
}

func TestEnsureNotifications(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tests := []struct{ before, after string }{
		{"", "Kghx"},
		{"Kghx", "Kghx"},
		{"Elz", "EKghlxz"},
		{"AE", "AEK"},
		{"KEA", "AEK"},
	}
	for _, tt := range tests {
		s.admin("CONFIG", "SET", "notify-keyspace-events", tt.before)
		for _, url := range []string{s.url(), s.url() + "/5"} {
			require.NoError(t, ensure(t, url))
			require.Equal(t, tt.after, flags(s), "from %q", tt.before)
		}
		require.Equal(t, "0", s.admin("DBSIZE"), "the probe is gone")
	}
}

// TestEnsureNotificationsWithoutPermissions: managed Redis forbids CONFIG.
func TestEnsureNotificationsWithoutPermissions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for user, rules := range map[string][]string{
		"noconfig":  {"~*", "&*", "+@all", "-config"},
		"nochannel": {"~*", "resetchannels", "+@all"},
		"nowrite":   {"~other:*", "&*", "+@all"},
	} {
		s.admin(append([]string{"ACL", "SETUSER", user, "on", ">hush"}, rules...)...)
	}
	as := func(user string) string { return "redis://" + user + ":hush@" + s.addr() }

	began := time.Now()
	err := ensure(t, as("noconfig"))
	require.True(t, redisx.IsSetup(err), "%v", err)
	require.ErrorContains(t, err, `put "notify-keyspace-events Kghx" into redis.conf`)
	require.Less(t, time.Since(began), 5*time.Second)
	require.Equal(t, "0", s.admin("DBSIZE"))

	s.admin("CONFIG", "SET", "notify-keyspace-events", "Kghx")
	require.NoError(t, ensure(t, as("noconfig")), "the operator has set it")

	err = ensure(t, as("nochannel"))
	require.True(t, redisx.IsSetup(err), "%v", err)
	require.ErrorContains(t, err, "may not subscribe to __keyspace@*__:"+probeKey)

	err = ensure(t, as("nowrite"))
	require.True(t, redisx.IsSetup(err), "%v", err)
	require.ErrorContains(t, err, probeKey)
}

func TestEnsureNotificationsWaitsForRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, s.url())
	log, seen := logs()
	s.freeze()
	result := make(chan error, 1)
	stop := background(t, func(ctx context.Context) { result <- redisx.EnsureNotifications(ctx, c, probeKey, log) })
	require.Eventually(t, func() bool { return seen.Len() > 0 }, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, seen.All()[0].Message, "trying again in")
	s.thaw()
	require.NoError(t, <-result)
	stop()

	s.kill()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, redisx.EnsureNotifications(ctx, c, probeKey, zap.NewNop()), context.DeadlineExceeded)
}

func TestEscapeGlobMatchesOnlyItself(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, s.url())
	ctx := context.Background()
	keys := []string{`a*b`, `a?b`, `a[x]b`, `a\b`, `a^b`, `a]b`, `{pwdist:x}`, `axb`, `aab`, `a[^x]b`, `a\*b`}
	for _, key := range keys {
		require.NoError(t, c.Do(ctx, c.B().Set().Key(key).Value("1").Build()).Error())
	}
	for _, key := range keys {
		got, err := c.Do(ctx, c.B().Keys().Pattern(redisx.EscapeGlob(key)).Build()).AsStrSlice()
		require.NoError(t, err)
		require.Equal(t, []string{key}, got)
	}
}

// hset changes a key.
func (s *server) hset(db int, key string) {
	s.t.Helper()
	s.admin("-n", fmt.Sprint(db), "HSET", key, "f", "v")
}

// watch starts a watcher of worker keys in db 2.
func watch(t *testing.T, s *server, log *zap.Logger) (w *redisx.Watcher, stop func()) {
	t.Helper()
	w = redisx.NewWatcher(connect(t, s.url()+"/2"), 2, "{pwdist:test}:worker:*", log)
	return w, background(t, w.Run)
}

// awake waits for the watcher.
func awake(t *testing.T, w *redisx.Watcher) {
	t.Helper()
	select {
	case <-w.Wake():
	case <-time.After(10 * time.Second):
		require.Fail(t, "the watcher says nothing")
	}
}

// takeResync waits for a resync; hints before it do not count.
func takeResync(t *testing.T, w *redisx.Watcher) {
	t.Helper()
	for {
		awake(t, w)
		if keys, resync := w.Take(); resync {
			require.Empty(t, keys, "all may have changed, so none is named")
			return
		}
	}
}

// takeAll collects hints until all of want were named.
func takeAll(t *testing.T, w *redisx.Watcher, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for len(got) < len(want) {
		awake(t, w)
		keys, resync := w.Take()
		require.False(t, resync)
		for _, key := range keys {
			require.Contains(t, want, key)
			got[key] = true
		}
	}
}

func TestWatcherNamesChangedKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w, _ := watch(t, s, zap.NewNop())
	takeResync(t, w) // the first subscription; notifications are on now

	a, b := "{pwdist:test}:worker:a", "{pwdist:test}:worker:b:__:"
	s.hset(2, a)
	takeAll(t, w, a)
	s.hset(2, a)
	s.hset(0, a)                       // another database
	s.hset(2, "{pwdist:test}:other")   // another key
	s.hset(2, "{pwdist:test2}:worker") // another pool
	s.admin("-n", "2", "DEL", a)
	s.hset(2, b)
	takeAll(t, w, a, b)

	keys, resync := w.Take()
	require.Empty(t, keys)
	require.False(t, resync)
}

// TestWatcherNamesAKeyOnce however often it changed.
func TestWatcherNamesAKeyOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w, _ := watch(t, s, zap.NewNop())
	takeResync(t, w)
	for range 20 {
		s.hset(2, "{pwdist:test}:worker:a")
	}
	// A last key shows that all notifications before it have come.
	s.hset(2, "{pwdist:test}:worker:z")
	seen := map[string]int{}
	for seen["{pwdist:test}:worker:z"] == 0 {
		awake(t, w)
		keys, _ := w.Take()
		for _, key := range keys {
			seen[key]++
		}
	}
	require.LessOrEqual(t, len(seen), 2)
	require.Less(t, seen["{pwdist:test}:worker:a"], 20)
}

// TestWatcherOverflow: nobody takes, and memory stays bounded.
func TestWatcherOverflow(t *testing.T) {
	t.Parallel()
	w := redisx.NewWatcher(nil, 0, "*", zap.NewNop())
	for i := range 4096 {
		w.Hear(fmt.Sprint(i))
	}
	keys, resync := w.Take()
	require.Len(t, keys, 4096)
	require.False(t, resync)

	for i := range 4097 {
		w.Hear(fmt.Sprint(i))
	}
	keys, resync = w.Take()
	require.Empty(t, keys, "all may have changed, so none is named")
	require.True(t, resync)

	w.Hear("after")
	keys, resync = w.Take()
	require.Equal(t, []string{"after"}, keys)
	require.False(t, resync)
	require.Len(t, w.Wake(), 1)
}

// TestWatcherSurvives: after every way of losing the connection there is a
// resync, and hints come again, also from a Redis that forgot its settings.
func TestWatcherSurvives(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		upset func(s *server)
	}{
		{"killed and restarted", func(s *server) { s.kill(); s.start() }},
		{"connection cut", func(s *server) { s.admin("CLIENT", "KILL", "TYPE", "pubsub") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			log, seen := logs()
			w := redisx.NewWatcher(connect(t, s.url()+"/2"), 2, "{pwdist:test}:worker:*", log)
			again := make(chan struct{}, 10)
			w.Again(func() { again <- struct{}{} })
			background(t, w.Run)
			takeResync(t, w)
			require.Empty(t, again, "the first subscription is none")
			tt.upset(s)
			takeResync(t, w)
			require.Len(t, again, 1)
			require.Equal(t, 1, seen.FilterLevelExact(zap.WarnLevel).Len())
			require.Equal(t, 1, seen.FilterMessage("subscribed to key changes again").Len())
			s.hset(2, "{pwdist:test}:worker:a")
			takeAll(t, w, "{pwdist:test}:worker:a")
		})
	}
}

// TestWatcherNoticesAFrozenRedis by itself, since no command goes over its
// connection.
func TestWatcherNoticesAFrozenRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	log, seen := logs()
	w, stop := watch(t, s, log)
	takeResync(t, w)
	s.freeze()
	require.Eventually(t, func() bool { return seen.FilterLevelExact(zap.WarnLevel).Len() == 1 }, 5*time.Second, 10*time.Millisecond)
	s.thaw()
	takeResync(t, w)

	s.freeze()
	defer s.thaw()
	stop() // in time, although nobody answers
}

// TestWatcherMissesNothing: whoever reads everything on a resync and single
// keys on hints ends with what Redis holds, however often the connection is cut.
func TestWatcherMissesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, s.url()+"/2")
	w, stop := watch(t, s, zap.NewNop())
	defer stop()
	ctx := context.Background()

	const workers = 20
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for i := range 2000 {
			key := fmt.Sprintf("{pwdist:test}:worker:%d", i%workers)
			if err := c.Do(ctx, c.B().Hset().Key(key).FieldValue().FieldValue("n", fmt.Sprint(i)).Build()).Error(); err != nil {
				t.Error(err)
			}
			if i%500 == 250 {
				s.admin("CLIENT", "KILL", "TYPE", "pubsub")
			}
		}
	}()

	view := map[string]string{}
	read := func(key string) {
		v, err := c.Do(ctx, c.B().Hget().Key(key).Field("n").Build()).ToString()
		if err == nil {
			view[key] = v
		}
	}
	done := func() bool {
		for i := range workers {
			if view[fmt.Sprintf("{pwdist:test}:worker:%d", i)] != fmt.Sprint(2000-workers+i) {
				return false
			}
		}
		return true
	}
	for !done() {
		awake(t, w)
		keys, resync := w.Take()
		for _, key := range keys {
			read(key)
		}
		for i := range workers {
			if resync {
				read(fmt.Sprintf("{pwdist:test}:worker:%d", i))
			}
		}
	}
	<-writer
}
