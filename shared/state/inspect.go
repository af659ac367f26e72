package state

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Load is what a worker has to do.
type Load struct {
	Held   int // sessions that hold a slot
	Served int // sessions of its lifetime
}

// Loads reads the loads of workers in one pipeline.
func (s *Store) Loads(ctx context.Context, workers []string) (map[string]Load, error) {
	loads := make(map[string]Load, len(workers))
	if len(workers) == 0 {
		return loads, nil
	}
	cmds := make(rueidis.Commands, 0, 2*len(workers))
	for _, id := range workers {
		cmds = append(cmds,
			s.client.B().Scard().Key(s.keys.Held(id)).Build(),
			s.client.B().Get().Key(s.keys.Served(id)).Build())
	}
	got := s.client.DoMulti(ctx, cmds...)
	for i, id := range workers {
		held, err := got[2*i].AsInt64()
		if err != nil {
			return nil, fmt.Errorf("redis: held of %s: %w", id, err)
		}
		served, err := got[2*i+1].AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("redis: served of %s: %w", id, err)
		}
		loads[id] = Load{Held: int(held), Served: int(served)}
	}
	return loads, nil
}

// Record is what Redis keeps of a session.
type Record struct {
	Session        string
	Phase          Phase
	Worker         string
	Proxy          string
	Attempt        int
	Browser        string
	BrowserVersion string
	Playwright     string
	Name           string
	Labels         map[string]string
	Token          string // name of the token
	Client         string
	Queued         time.Time // when it asked
	Assigned       time.Time // zero when it never was
	Started        time.Time
	Ended          time.Time
	Reason         string        // when it has ended
	Place          int           // when queued: place in its class, from 1
	Waited         time.Duration // when queued: since it asked, by the clock of Redis
}

// Record reads one session; ok is false when Redis has none.
func (s *Store) Record(ctx context.Context, session string) (r Record, ok bool, err error) {
	got, err := s.records(ctx, []string{session})
	if err != nil || len(got) == 0 {
		return Record{}, false, err
	}
	return got[0], true, nil
}

// Running reads at most limit of the sessions that hold a slot, the oldest
// first, and how many there are. It reads those of the given workers, which are
// the fleet's; of more than limit those of the first workers: which ones are the
// oldest of all could only be told by reading all. After them come those that go
// on though the pool has lost their worker, as their proxies know them.
func (s *Store) Running(ctx context.Context, workers []string, limit int) (records []Record, total int, err error) {
	proxies, err := s.client.Do(ctx, s.client.B().Zrange().Key(s.keys.Proxies()).Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		return nil, 0, fmt.Errorf("redis: proxies: %w", err)
	}
	loads, owned, err := s.counts(ctx, workers, proxies)
	if err != nil {
		return nil, 0, err
	}
	var cmds rueidis.Commands
	held := 0
	for i, n := range loads {
		if n > 0 && held < limit {
			cmds = append(cmds, s.client.B().Smembers().Key(s.keys.Held(workers[i])).Build())
		}
		held += n
	}
	var ids []string
	if len(cmds) > 0 {
		for _, r := range s.client.DoMulti(ctx, cmds...) {
			of, err := r.AsStrSlice()
			if err != nil {
				return nil, 0, fmt.Errorf("redis: held: %w", err)
			}
			sort.Strings(of) // any order, but always the same
			ids = append(ids, of...)
		}
	}
	if held < limit && owned > held {
		if ids, err = s.withAstray(ctx, ids, proxies, limit); err != nil {
			return nil, 0, err
		}
	}
	records, err = s.records(ctx, ids[:min(limit, len(ids))])
	if err != nil {
		return nil, 0, err
	}
	records = slices.DeleteFunc(records, func(r Record) bool { return r.Phase != Assigned && r.Phase != Active }) // since the sets were read
	sort.Slice(records, func(i, j int) bool {
		if a, b := records[i].Queued, records[j].Queued; !a.Equal(b) {
			return a.Before(b)
		}
		return records[i].Session < records[j].Session
	})
	return records, max(held, owned), nil
}

// counts reads how many sessions hold a slot of each worker, and how many the
// proxies have that hold one, of whichever worker.
func (s *Store) counts(ctx context.Context, workers, proxies []string) (loads []int, owned int, err error) {
	cmds := make(rueidis.Commands, 0, len(workers)+len(proxies)+1)
	for _, id := range workers {
		cmds = append(cmds, s.client.B().Scard().Key(s.keys.Held(id)).Build())
	}
	cmds = append(cmds, s.client.B().Zcard().Key(s.keys.Waiting()).Build())
	for _, id := range proxies {
		cmds = append(cmds, s.client.B().Scard().Key(s.keys.Owned(id)).Build())
	}
	sizes := make([]int, len(cmds))
	for i, r := range s.client.DoMulti(ctx, cmds...) {
		n, err := r.AsInt64()
		if err != nil {
			return nil, 0, fmt.Errorf("redis: how many sessions there are: %w", err)
		}
		sizes[i] = int(n)
	}
	loads, owned = sizes[:len(workers)], -sizes[len(workers)]
	for _, n := range sizes[len(workers)+1:] {
		owned += n
	}
	return loads, owned, nil
}

// withAstray adds to the sessions that workers hold those of the proxies which no
// worker does, until there are limit.
func (s *Store) withAstray(ctx context.Context, ids, proxies []string, limit int) ([]string, error) {
	waiting, err := s.client.Do(ctx, s.client.B().Zrange().Key(s.keys.Waiting()).Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("redis: waiting: %w", err)
	}
	known := make(map[string]bool, len(ids)+len(waiting))
	for _, id := range slices.Concat(ids, waiting) {
		known[id] = true
	}
	for _, proxy := range proxies {
		if len(ids) >= limit {
			break
		}
		owned, err := s.client.Do(ctx, s.client.B().Smembers().Key(s.keys.Owned(proxy)).Build()).AsStrSlice()
		if err != nil {
			return nil, fmt.Errorf("redis: owned: %w", err)
		}
		sort.Strings(owned)
		ids = append(ids, slices.DeleteFunc(owned, func(id string) bool { return known[id] })...)
	}
	return ids, nil
}

// Queue is one class of waiting clients.
type Queue struct {
	Demand  Demand
	Waiting int
	Head    []Record // the first of them, in order
}

// Queues reads who waits, with at most limit records of each class, and how
// many wait in the whole pool.
func (s *Store) Queues(ctx context.Context, limit int) (queues []Queue, waiting int, err error) {
	c := s.client
	got := c.DoMulti(ctx, c.B().Hgetall().Key(s.keys.Classes()).Build(), c.B().Zcard().Key(s.keys.Waiting()).Build(), c.B().Time().Build())
	classes, err := got[0].AsStrMap()
	if err != nil {
		return nil, 0, fmt.Errorf("redis: classes: %w", err)
	}
	total, err := got[1].AsInt64()
	if err != nil {
		return nil, 0, fmt.Errorf("redis: waiting: %w", err)
	}
	clock, err := got[2].AsIntSlice()
	if err != nil || len(clock) != 2 {
		return nil, 0, fmt.Errorf("redis: time: %w", err)
	}
	now := time.Unix(clock[0], clock[1]*int64(time.Microsecond))
	for class, demand := range classes {
		q := Queue{}
		if err := json.Unmarshal([]byte(demand), &q.Demand); err != nil {
			return nil, 0, fmt.Errorf("redis: class %s: %w", class, err)
		}
		got := c.DoMulti(ctx,
			c.B().Zcard().Key(s.keys.Queue(class)).Build(),
			c.B().Zrange().Key(s.keys.Queue(class)).Min("0").Max(strconv.Itoa(limit-1)).Build())
		n, err := got[0].AsInt64()
		if err != nil {
			return nil, 0, fmt.Errorf("redis: queue: %w", err)
		}
		ids, err := got[1].AsStrSlice()
		if err != nil {
			return nil, 0, fmt.Errorf("redis: queue: %w", err)
		}
		if q.Waiting = int(n); n == 0 {
			continue // served between the two reads
		}
		if q.Head, err = s.records(ctx, ids); err != nil {
			return nil, 0, err
		}
		for i := range q.Head {
			q.Head[i].Place = i + 1
			q.Head[i].Waited = max(0, now.Sub(q.Head[i].Queued))
		}
		queues = append(queues, q)
	}
	sort.Slice(queues, func(i, j int) bool { return queues[i].Waiting > queues[j].Waiting })
	return queues, int(total), nil
}

func (s *Store) records(ctx context.Context, ids []string) ([]Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	cmds := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		cmds[i] = s.client.B().Get().Key(s.keys.Session(id)).Build()
	}
	var records []Record
	for i, r := range s.client.DoMulti(ctx, cmds...) {
		text, err := r.ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("redis: session %s: %w", ids[i], err)
		}
		if f := RecordFields(text); f["state"] != "" {
			records = append(records, recordOf(ids[i], f))
		}
	}
	return records, nil
}

func recordOf(id string, f map[string]string) Record {
	attempt, _ := strconv.Atoi(f["attempt"])
	r := Record{
		Session: id, Phase: Phase(f["state"]), Worker: f["worker"], Proxy: f["proxy"], Attempt: attempt,
		Browser: f["browser"], BrowserVersion: f["browser_version"], Playwright: f["playwright"], Name: f["name"],
		Token: f["token"], Client: f["client"], Reason: f["reason"],
		Queued: millis(f["queued_at"]), Assigned: millis(f["assigned_at"]), Started: millis(f["started_at"]), Ended: millis(f["ended_at"]),
	}
	if f["labels"] != "" {
		_ = json.Unmarshal([]byte(f["labels"]), &r.Labels) // written from a map
	}
	return r
}

func millis(text string) time.Time {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
