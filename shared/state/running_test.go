package state_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// counting notes how many commands go through it in pipelines.
type counting struct {
	rueidis.Client
	commands int
}

func (c *counting) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	c.commands += len(cmds)
	return c.Client.DoMulti(ctx, cmds...)
}

func TestRunning(t *testing.T) {
	p := newPool(t)
	for _, w := range []string{"w1", "w2", "w3"} {
		p.join(worker(w, 20))
	}
	var asked []string // the oldest first
	for i := range 60 {
		// Their names are in another order than they have come in.
		id := fmt.Sprintf("s%02d", (i*7)%60)
		p.acquire(id)
		asked = append(asked, id)
	}
	c := &counting{Client: p.c}
	s, err := state.New(c, p.k, p.Options(), nil)
	require.NoError(t, err)
	read := func(limit int, workers ...string) (ids []string, records []state.Record) {
		t.Helper()
		c.commands = 0
		records, total, err := s.Running(ctx, workers, limit)
		require.NoError(t, err)
		require.Equal(t, 60, total, "all are counted, also those that are not read")
		for i, r := range records {
			ids = append(ids, r.Session)
			require.Contains(t, workers, r.Worker)
			require.False(t, i > 0 && r.Queued.Before(records[i-1].Queued), "the oldest first")
		}
		return ids, records
	}

	ids, _ := read(100, "w1", "w2", "w3")
	require.ElementsMatch(t, asked, ids)

	// What is read costs no more than that.
	ids, records := read(5, "w1", "w2", "w3")
	require.Len(t, ids, 5)
	require.LessOrEqual(t, c.commands, 3+2+1+5, "loads, what waits and what the proxy has, one worker's sessions, and their records")
	for _, r := range records {
		require.Equal(t, "w1", r.Worker)
	}
	again, _ := read(5, "w1", "w2", "w3")
	require.Equal(t, ids, again, "the same ones, while nothing changes")

	ids, _ = read(25, "w1", "w2", "w3")
	require.Len(t, ids, 25)
	require.LessOrEqual(t, c.commands, 3+2+2+25)

	records, total, err := newPool(t).Running(ctx, []string{"unknown"}, 5)
	require.NoError(t, err)
	require.Empty(t, records)
	require.Zero(t, total)
}

// A worker that the pool has lost and its proxy may go on with a session.
func TestRunningWithALostWorker(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	p.join(worker("w1", 2))
	p.serve("lost1", "w1")
	p.serve("lost2", "w1")
	p.expire(p.k.Workers(), "w1")
	p.reap(10)
	p.join(worker("w2", 2))
	p.serve("new1", "w2")
	p.serve("new2", "w2")
	p.acquire("asks") // by its name before the others
	p.read()

	for _, c := range []struct {
		limit int
		want  []string
	}{
		{limit: 10, want: []string{"lost1", "lost2", "new1", "new2"}},
		{limit: 3, want: []string{"lost1", "new1", "new2"}},
		{limit: 2, want: []string{"new1", "new2"}},
		{limit: 1, want: []string{"new1"}},
	} {
		records, total, err := p.Running(ctx, []string{"w2"}, c.limit)
		require.NoError(t, err)
		require.Equal(t, 4, total)
		var got []string
		for _, r := range records {
			require.Equal(t, state.Active, r.Phase)
			got = append(got, r.Session)
		}
		require.Equal(t, c.want, got)
	}
	p.finish("w1", "lost1")
	_, total, err := p.Running(ctx, []string{"w2"}, 10)
	require.NoError(t, err)
	require.Equal(t, 3, total)
}
