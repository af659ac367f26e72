package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

const (
	outOfMemory  = "it is out of memory (maxmemory); raise maxmemory, or find out what fills it"
	cannotSave   = "it cannot save its data; its log says why, and its disk may be full"
	fewReplicas  = "it has fewer replicas than min-replicas-to-write asks for; bring them back, or lower that"
	refusesSoon  = noticed
	acceptsSoon  = 10 * time.Second
	memory       = "maxmemory"
	replicas     = "min-replicas-to-write"
	stopOnErrors = "stop-writes-on-bgsave-error"
)

// TestHealthOfARedisThatRefusesWrites: it answers all that is asked, and is of
// no use all the same.
func TestHealthOfARedisThatRefusesWrites(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	for name, c := range map[string]struct {
		why           string
		refuse, allow func(*server)
	}{
		"memory": {
			why:    outOfMemory,
			refuse: func(s *server) { s.admin("CONFIG", "SET", memory, "1") },
			allow:  func(s *server) { s.admin("CONFIG", "SET", memory, "0") },
		},
		"disk": {
			why: cannotSave,
			refuse: func(s *server) {
				require.NoError(t, os.Remove(folder))
				s.admin("BGSAVE")
			},
			allow: func(s *server) { s.admin("CONFIG", "SET", stopOnErrors, "no") },
		},
		"replicas": {
			why:    fewReplicas,
			refuse: func(s *server) { s.admin("CONFIG", "SET", replicas, "1") },
			allow:  func(s *server) { s.admin("CONFIG", "SET", replicas, "0") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "disk" {
				require.NoError(t, os.Mkdir(folder, 0o700))
			}
			s := newServer(t, map[string][]string{"disk": {"--dir", folder, "--save", "3600 1"}}[name]...)
			h := newHealth()
			log, seen := logs()
			client, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: s.url()}, Log: log, OnHealth: h.on})
			require.NoError(t, err)
			defer client.Close()
			require.Empty(t, h.next(t, time.Second))

			c.refuse(s)
			why := "Redis at " + s.addr() + " refuses writes: " + c.why
			require.Equal(t, why, h.next(t, refusesSoon))
			require.Equal(t, 1, seen.FilterMessageSnippet(why).FilterLevelExact(zap.WarnLevel).Len())
			got, refused := redisx.WriteRefusal(fmt.Errorf("incr: %w", client.Do(context.Background(), client.B().Incr().Key("x").Build()).Error()))
			require.True(t, refused)
			require.Equal(t, c.why, got)

			// Who starts now waits, and knows as much.
			late := newHealth()
			require.ErrorContains(t, try(s.url(), time.Second, zap.NewNop(), late.on), "refuses writes")
			require.Equal(t, why, late.next(t, time.Second))

			c.allow(s)
			require.Empty(t, h.next(t, acceptsSoon))
			require.Equal(t, 1, seen.FilterMessage("Redis takes writes again").Len())
			require.Zero(t, dbsize(s), "nothing was written to find that out")
		})
	}
}

func dbsize(s *server) int {
	var n int
	_, err := fmt.Sscan(s.admin("DBSIZE"), &n)
	require.NoError(s.t, err)
	return n
}

// TestHealthOfARedisThatComesBackFull: the reason that is told is the one of now.
func TestHealthOfARedisThatComesBackFull(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, h := watched(t, s)
	s.kill()
	require.Contains(t, h.next(t, refusesSoon), "lost Redis at "+s.addr())
	s.args = []string{"--maxmemory", "1"}
	s.start()
	require.Contains(t, h.next(t, acceptsSoon), outOfMemory)
	s.kill()
	require.Contains(t, h.next(t, refusesSoon), "lost Redis at "+s.addr())
	s.args = nil
	s.start()
	require.Empty(t, h.next(t, acceptsSoon))
}

func TestOtherErrorsAreNoRefusalOfWrites(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, s.url())
	for _, err := range []error{nil, errors.New("OOM"), c.Do(context.Background(), c.B().Arbitrary("NONSENSE").Build()).Error()} {
		why, refused := redisx.WriteRefusal(err)
		require.False(t, refused)
		require.Empty(t, why)
	}
}
