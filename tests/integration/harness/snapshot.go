package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Snapshot is a pool's state and log at one moment.
type Snapshot struct {
	Workers  map[string]string        // worker → state
	Held     map[string][]string      // worker → sessions that hold a slot, sorted; without empty ones
	Sessions map[string]SessionRecord // those that have not ended
	Waiting  []string                 // in the order of the queue
	Leases   []string                 // sessions that must start before a deadline
	Owned    map[string][]string      // proxy → its sessions, sorted; without empty ones
	Events   []event.Event
}

// SessionRecord is what the state says about a session.
type SessionRecord struct {
	State, Worker, Attempt string
}

// The script reads everything at one moment.
const snapshotScript = `
local P = ARGV[1]
local function members(pattern)
  local out = {}
  for _, key in ipairs(redis.call('KEYS', P .. pattern .. '*')) do
    out[#out + 1] = { string.sub(key, #P + #pattern + 1), redis.call('SMEMBERS', key) }
  end
  return out
end
local workers, sessions = {}, {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do
  workers[#workers + 1] = { id, redis.call('HGET', P .. 'worker:' .. id, 'state') or '' }
end
for _, key in ipairs(redis.call('KEYS', P .. 'session:*')) do
  local state, worker, attempt = string.match(redis.call('GET', key) or '', '^([^\n]*)\n([^\n]*)\n([^\n]*)\n')
  sessions[#sessions + 1] = { string.sub(key, #P + 9), state or '', worker or '', attempt or '' }
end
local state = cjson.encode({ workers = workers, sessions = sessions, held = members('held:'), owned = members('owned:'),
  waiting = redis.call('ZRANGE', P .. 'waiting', 0, -1), leases = redis.call('ZRANGE', P .. 'leases', 0, -1) })
return { state, redis.call('XRANGE', P .. 'events', '-', '+') }
`

// Snapshot reads the pool.
func (p *Pool) Snapshot(tb testing.TB) Snapshot {
	tb.Helper()
	got, err := p.Redis.do(context.Background(), "EVAL", snapshotScript, "0", p.Keys.Prefix()).ToArray()
	if err != nil {
		tb.Fatalf("snapshot: %v", err)
	}
	text, err := got[0].ToString()
	if err != nil {
		tb.Fatalf("snapshot: %v", err)
	}
	s, err := decodeSnapshot(text)
	if err != nil {
		tb.Fatalf("snapshot: %v\n%s", err, text)
	}
	entries, err := got[1].AsXRange()
	if err != nil {
		tb.Fatalf("snapshot: events: %v", err)
	}
	for _, entry := range entries {
		e, err := event.Parse(entry.ID, entry.FieldValues)
		if err != nil {
			tb.Fatalf("the scripts wrote an event that its readers cannot read: %v\n%v", err, entry.FieldValues)
		}
		s.Events = append(s.Events, e)
	}
	return s
}

func decodeSnapshot(text string) (Snapshot, error) {
	var raw struct {
		Workers  rows `json:"workers"`
		Sessions rows `json:"sessions"`
		Held     rows `json:"held"`
		Owned    rows `json:"owned"`
		Waiting  rows `json:"waiting"`
		Leases   rows `json:"leases"`
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Workers: map[string]string{}, Sessions: map[string]SessionRecord{}}
	var errs error
	for _, row := range raw.Workers {
		f := decode[[2]string](&errs, row)
		s.Workers[f[0]] = f[1]
	}
	for _, row := range raw.Sessions {
		f := decode[[4]string](&errs, row)
		if f[1] != "ended" && f[1] != "rejected" {
			s.Sessions[f[0]] = SessionRecord{State: f[1], Worker: f[2], Attempt: f[3]}
		}
	}
	s.Held, s.Owned = sets(&errs, raw.Held), sets(&errs, raw.Owned)
	for _, row := range raw.Waiting {
		s.Waiting = append(s.Waiting, decode[string](&errs, row))
	}
	for _, row := range raw.Leases {
		s.Leases = append(s.Leases, decode[string](&errs, row))
	}
	return s, errs
}

func sets(errs *error, list rows) map[string][]string {
	out := map[string][]string{}
	for _, row := range list {
		f := decode[[2]json.RawMessage](errs, row)
		members := decode[[]string](errs, f[1])
		slices.Sort(members)
		out[decode[string](errs, f[0])] = members
	}
	return out
}

// rows is a list; Lua's empty table, which has no shape, comes as an object.
type rows []json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (r *rows) UnmarshalJSON(b []byte) error {
	if string(b) == "{}" {
		return nil
	}
	var list []json.RawMessage
	err := json.Unmarshal(b, &list)
	*r = list
	return err
}

func decode[T any](errs *error, b json.RawMessage) T {
	var v T
	if err := json.Unmarshal(b, &v); err != nil && *errs == nil {
		*errs = err
	}
	return v
}

// Fold is what the snapshot's events say about its state.
func (s Snapshot) Fold() event.State {
	var f event.State
	for _, e := range s.Events {
		f.Apply(e)
	}
	return f
}

// FoldDifferences lists where state and log disagree (I6).
func (s Snapshot) FoldDifferences() []string {
	f := s.Fold()
	var diffs []string
	differ := func(what string, state, log any) {
		if a, b := fmt.Sprint(state), fmt.Sprint(log); a != b {
			diffs = append(diffs, fmt.Sprintf("%s: the state says %s, the log %s", what, a, b))
		}
	}
	workers := map[string]string{}
	for id, w := range f.Workers {
		workers[id] = string(w.State)
	}
	differ("workers", s.Workers, workers)

	sessions, held := map[string]SessionRecord{}, map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(f.Sessions)) {
		n := f.Sessions[id]
		sessions[id] = SessionRecord{State: string(n.State), Worker: n.Worker, Attempt: itoa(int(n.Attempt))}
		if n.State != event.Queued {
			held[n.Worker] = append(held[n.Worker], id)
		}
	}
	differ("sessions", s.Sessions, sessions)
	differ("held slots", s.Held, held)
	differ("waiting", s.Waiting, f.Waiting())
	return diffs
}
