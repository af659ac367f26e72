package redisx_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

// observed connects and returns what is logged and what health is told.
func observed(t *testing.T, url string) (rueidis.Client, *observer.ObservedLogs, *health) {
	t.Helper()
	log, seen := logs()
	h := newHealth()
	c, err := redisx.Connect(t.Context(), redisx.Options{Redis: config.Redis{URL: url}, Log: log, OnHealth: h.on})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Empty(t, h.next(t, time.Second))
	return c, seen, h
}

// warnings are the policies that were warned of.
func warnings(seen *observer.ObservedLogs) (policies []string) {
	for _, l := range seen.FilterLevelExact(zap.WarnLevel).All() {
		if policy, ok := l.ContextMap()["maxmemory-policy"].(string); ok {
			policies = append(policies, policy)
		}
	}
	return policies
}

// redial has the client connect anew, before its next ping notices.
func redial(t *testing.T, s *server, c rueidis.Client) {
	t.Helper()
	s.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	require.Eventually(t, func() bool { return c.Do(t.Context(), c.B().Ping().Build()).Error() == nil }, 10*time.Second, time.Millisecond)
}

// awaitAsked waits until Redis has been asked for its memory n times.
func awaitAsked(t *testing.T, s *server, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		// info, calls, their number, histogram ...
		told := strings.Fields(s.admin("LATENCY", "HISTOGRAM", "info"))
		if len(told) < 3 {
			return false
		}
		calls, err := strconv.Atoi(told[2])
		return err == nil && calls >= n
	}, 10*time.Second, 20*time.Millisecond)
}

// awaitWarnings waits for so many warnings and returns all.
func awaitWarnings(t *testing.T, seen *observer.ObservedLogs, n int) []string {
	t.Helper()
	require.Eventually(t, func() bool { return len(warnings(seen)) >= n }, 10*time.Second, 10*time.Millisecond)
	return warnings(seen)
}

// TestARedisThatEvictsIsWarnedOf, and used all the same.
func TestARedisThatEvictsIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "volatile-lru"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "--maxmemory", "100mb", "--maxmemory-policy", policy)
			c, seen, h := observed(t, s.url())
			awaitWarnings(t, seen, 1)
			l := seen.FilterLevelExact(zap.WarnLevel).All()[0]
			require.Contains(t, l.Message, "Redis at "+s.addr()+" evicts keys")
			require.Contains(t, l.Message, `"maxmemory-policy noeviction"`)
			require.Equal(t, map[string]any{"maxmemory-policy": policy, "maxmemory": int64(100 << 20)}, l.ContextMap())
			require.Empty(t, h.changes)

			// A new connection to such a Redis is no news.
			redial(t, s, c)
			awaitAsked(t, s, 2)
			s.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
			redial(t, s, c)
			require.Equal(t, []string{policy, "allkeys-random"}, awaitWarnings(t, seen, 2))
		})
	}
}

// TestARedisThatDoesNotEvictIsNotWarnedOf: one without a limit never does.
func TestARedisThatDoesNotEvictIsNotWarnedOf(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"noeviction": {"--maxmemory", "100mb", "--maxmemory-policy", "noeviction"},
		"no limit":   {"--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, args...)
			_, seen, _ := observed(t, s.url())
			awaitAsked(t, s, 1)
			// The next question comes after what the first one has led to.
			s.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			awaitAsked(t, s, 2)
			require.Empty(t, warnings(seen))
		})
	}
}

// TestAnotherRedisThatEvictsIsFound: what takes over at the address may be
// configured in another way.
func TestAnotherRedisThatEvictsIsFound(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, seen, h := observed(t, s.url())
	awaitAsked(t, s, 1)
	for _, policy := range []string{"volatile-ttl", "noeviction", "volatile-ttl"} {
		s.kill()
		require.Contains(t, h.next(t, noticed), "lost Redis")
		s.args = []string{"--maxmemory", "100mb", "--maxmemory-policy", policy}
		s.start()
		require.Empty(t, h.next(t, 10*time.Second))
		awaitAsked(t, s, 1)
	}
	require.Equal(t, []string{"volatile-ttl", "volatile-ttl"}, awaitWarnings(t, seen, 2))
	require.Equal(t, 1, seen.FilterMessage("Redis does not evict keys any more").Len())
}

// TestEvictionWhereConfigIsForbidden, as managed Redis has it.
func TestEvictionWhereConfigIsForbidden(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
	s.admin("ACL", "SETUSER", "noconfig", "on", ">hush", "~*", "&*", "+@all", "-config")
	s.admin("ACL", "SETUSER", "noinfo", "on", ">hush", "~*", "&*", "+@all", "-config", "-info")

	_, seen, _ := observed(t, "redis://noconfig:hush@"+s.addr())
	require.Equal(t, []string{"volatile-lru"}, awaitWarnings(t, seen, 1))

	// Who may not know is not bothered with it.
	_, seen, h := observed(t, "redis://noinfo:hush@"+s.addr())
	require.Eventually(t, func() bool { return seen.FilterMessage("cannot ask Redis whether it evicts keys").Len() > 0 }, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, seen.FilterLevelExact(zap.WarnLevel).Len())
	require.Empty(t, h.changes)
}
