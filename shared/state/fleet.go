package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Member is a worker as the pool sees it.
type Member struct {
	Worker
	State WorkerState
	// FlavourKey is the key of its flavour, kept because many clients ask for it
	// and a worker's flavour never changes.
	FlavourKey string
}

// Fleet reads every worker. The revision was current before the read, so what
// changes meanwhile is found again by Changes.
func (s *Store) Fleet(ctx context.Context) (members map[string]Member, rev int64, err error) {
	c := s.client
	got := c.DoMulti(ctx, c.B().Get().Key(s.keys.Head()).Build(), c.B().Zrange().Key(s.keys.Workers()).Min("0").Max("-1").Build())
	if rev, err = revision(got[0]); err != nil {
		return nil, 0, err
	}
	ids, err := got[1].AsStrSlice()
	if err != nil {
		return nil, 0, fmt.Errorf("redis: workers: %w", err)
	}
	members, err = s.Members(ctx, ids)
	return members, rev, err
}

// Faded reads the flavours whose last worker went less than a minute ago.
func (s *Store) Faded(ctx context.Context) (map[string]Flavour, error) {
	c := s.client
	got := c.DoMulti(ctx, c.B().Zrange().Key(s.keys.Fading()).Min("0").Max("-1").Build(), c.B().Hgetall().Key(s.keys.Flavours()).Build())
	fading, err := got[0].AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("redis: fading: %w", err)
	}
	facts, err := got[1].AsStrMap()
	if err != nil {
		return nil, fmt.Errorf("redis: flavours: %w", err)
	}
	faded := map[string]Flavour{}
	for _, key := range fading {
		var f Flavour
		if json.Unmarshal([]byte(facts[key]), &f) == nil { // else it has been forgotten since
			faded[key] = f
		}
	}
	return faded, nil
}

// Changes returns the ids of workers that changed after the revision, and the
// current revision. ok is false when the record does not reach back so far, or
// the revision is of another data set: read the whole Fleet then.
func (s *Store) Changes(ctx context.Context, after int64) (ids []string, rev int64, ok bool, err error) {
	c := s.client
	got := c.DoMulti(ctx,
		c.B().Get().Key(s.keys.Head()).Build(),
		c.B().Zrangebyscore().Key(s.keys.Changed()).Min("("+i64(after)).Max("+inf").Build())
	if rev, err = revision(got[0]); err != nil {
		return nil, 0, false, err
	}
	if ids, err = got[1].AsStrSlice(); err != nil {
		return nil, 0, false, fmt.Errorf("redis: changed: %w", err)
	}
	return ids, rev, rev >= after && rev-after < changesKept, nil
}

// Members reads the named workers in one pipeline; who has gone is missing
// from the result.
func (s *Store) Members(ctx context.Context, ids []string) (map[string]Member, error) {
	cmds := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		cmds[i] = s.client.B().Hgetall().Key(s.keys.Worker(id)).Build()
	}
	members := make(map[string]Member, len(ids))
	if len(cmds) == 0 {
		return members, nil
	}
	for i, r := range s.client.DoMulti(ctx, cmds...) {
		f, err := r.AsStrMap()
		if err != nil {
			return nil, fmt.Errorf("redis: worker %s: %w", ids[i], err)
		}
		if f["id"] == "" {
			continue
		}
		members[ids[i]] = member(f)
	}
	return members, nil
}

func member(f map[string]string) Member {
	slots, _ := strconv.Atoi(f["slots"])
	lifetime, _ := strconv.Atoi(f["lifetime"])
	m := Member{State: WorkerState(f["state"]), Worker: Worker{
		ID: f["id"], Endpoint: f["endpoint"], Browser: f["browser"], BrowserVersion: f["browser_version"],
		Playwright: f["playwright"], Slots: slots, Lifetime: lifetime,
	}}
	if f["isolation"] != "" {
		m.Isolation = strings.Split(f["isolation"], ",")
	}
	if f["labels"] != "" {
		_ = json.Unmarshal([]byte(f["labels"]), &m.Labels) // written by join from a map
	}
	m.FlavourKey = m.Flavour().Key()
	return m
}

// revision reads the revision of the fleet off a pool's head, 0 where there is none.
func revision(head rueidis.RedisResult) (int64, error) {
	text, err := head.ToString()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("redis: revision: %w", err)
	}
	words := strings.Fields(text)
	if len(words) < 3 {
		return 0, fmt.Errorf("redis: revision: %q is no head of a pool of this release: give this one a pool of its own (--pool, PWDIST_POOL) or run the release that wrote it; docs/operations.md tells how", text)
	}
	rev, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("redis: revision: %w", err)
	}
	return rev, nil
}
