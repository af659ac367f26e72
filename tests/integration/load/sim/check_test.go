package sim_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// sleeper looks at one moment for a client that waits beside a free slot. It goes
// by what workers hold, not by what the scripts believe to be free. Who waits for
// a proxy without a lease does not count, nor does a worker without one.
//
//nolint:dupword // Lua closes each block with the same word.
var sleeper = rueidis.NewLuaScriptReadOnly(`
local P, call = ARGV[1], redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local classes, found = call('HGETALL', P .. 'classes'), {}
local want = {}
for i = 1, #classes, 2 do
  local head = call('ZRANGE', P .. 'queue:' .. classes[i], 0, 0)[1]
  local record = head and call('GET', P .. 'session:' .. head) or ''
  local proxy = string.match(record, '^[^\n]*\n[^\n]*\n[^\n]*\n([^\n]*)\n')
  local till = proxy and call('ZSCORE', P .. 'proxies', proxy)
  if till and tonumber(till) > now then want[#want + 1] = cjson.decode(classes[i + 1]) end
end
if #want == 0 then return found end
local flavours = {}
local all = call('HGETALL', P .. 'flavours')
for i = 1, #all, 2 do flavours[all[i]] = cjson.decode(all[i + 1]) end
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'workers', now + 1, '+inf')) do
  local w = call('HMGET', P .. 'worker:' .. id, 'state', 'slots', 'flavour')
  -- Who owes a slot waits for the reaper, which is due: a dead proxy's clients come first.
  if w[1] == 'ready' and call('SCARD', P .. 'held:' .. id) < tonumber(w[2]) and call('SISMEMBER', P .. 'owing', id) == 0 then
    local f = flavours[w[3]]
    for _, d in ipairs(want) do
      local fits = f.browser == d.browser and (not d.playwright or d.playwright == f.playwright)
      for k, v in pairs(d.require or {}) do fits = fits and (f.labels or {})[k] == v end
      if fits then found[#found + 1] = id .. ' has room for ' .. cjson.encode(d) end
    end
  end
end
return found`)

// watch looks for sleepers until the world ends.
func (w *world) watch(h host) {
	w.all.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				found, err := sleeper.Exec(context.Background(), h.client, nil, []string{h.Keys().Prefix()}).AsStrSlice()
				if err != nil {
					w.t.Errorf("sleeper: %v", err)
					return
				}
				if len(found) > 0 {
					w.t.Errorf("somebody sleeps beside a free slot (I4): %s", found[0])
					return
				}
				w.looks.Add(1)
			}
		}
	})
}

// history reads the log of the pool from its beginning and holds each event
// against the order of the queue (I4) and the slots of the workers (I1); it
// returns the state that the log tells (I6).
type history struct {
	t       *testing.T
	fold    event.State
	waiting map[string]map[string]int64 // kind → session → place in the order of the queue
	first   map[string][]ticket         // kind → tickets in their order; those that wait no more are dropped late
	had     map[string]bool             // sessions that were assigned
	ends    map[string]int
	counts  map[string]int
}

type ticket struct {
	session string
	seq     int64
}

func readHistory(t *testing.T, h host) *history {
	t.Helper()
	y := &history{t: t, waiting: map[string]map[string]int64{}, first: map[string][]ticket{}, had: map[string]bool{}, ends: map[string]int{}, counts: map[string]int{}}
	for kind := range demands {
		y.waiting[kind] = map[string]int64{}
	}
	for e, err := range consume.Replay(context.Background(), h.client, h.Keys().Name(), consume.Beginning(), consume.End()) {
		if err != nil {
			t.Fatal(err)
		}
		y.take(e)
		if t.Failed() {
			t.Fatalf("at %s %s", e.Type, e.Subject())
		}
	}
	return y
}

func (y *history) take(e event.Event) {
	y.counts[string(e.Type)]++
	if !y.fold.Apply(e) {
		y.t.Errorf("%s was written twice", e.ID)
	}
	s := e.Session
	if s == nil {
		return
	}
	kind := s.Name
	switch e.Type {
	case event.SessionQueued:
		y.waiting[kind][s.ID] = s.Seq
		list := y.first[kind]
		i, _ := slices.BinarySearchFunc(list, s.Seq, func(t ticket, seq int64) int { return int(t.seq - seq) })
		y.first[kind] = slices.Insert(list, i, ticket{s.ID, s.Seq})
	case event.SessionAssigned:
		y.assigned(s)
		y.had[s.ID] = true
	case event.SessionEnded:
		y.ends[s.ID]++
		delete(y.waiting[kind], s.ID)
		y.counts["ended: "+string(s.Reason)]++
	case event.SessionRejected:
		delete(y.waiting[kind], s.ID)
		y.counts["rejected: "+string(s.Reason)]++
	}
}

// assigned: whoever gets a slot is older than all who wait and whom it fits.
func (y *history) assigned(s *event.Session) {
	w := y.fold.Workers[s.Worker]
	flavour := state.Flavour{Browser: w.Browser, Playwright: state.MajorMinor(w.Playwright), Isolation: w.Isolation, Labels: w.Labels}
	seq, waited := y.waiting[s.Name][s.ID]
	delete(y.waiting[s.Name], s.ID)
	for kind, demand := range demands {
		if !flavour.Fits(demand) {
			continue
		}
		if head := y.head(kind); head != nil && (!waited || head.seq < seq) {
			y.t.Errorf("session %s (%s) got a slot of %s before %s (%s), which is older (I4)", s.ID, s.Name, s.Worker, head.session, kind)
		}
	}
	y.counts["assigned to one who waited"] += map[bool]int{true: 1}[waited]
}

// head is the oldest who waits.
func (y *history) head(kind string) *ticket {
	list := y.first[kind]
	for len(list) > 0 {
		if seq, waits := y.waiting[kind][list[0].session]; waits && seq == list[0].seq {
			y.first[kind] = list
			return &list[0]
		}
		list = list[1:]
	}
	y.first[kind] = nil
	return nil
}

// finished holds what is left against what should be: nothing.
func (y *history) finished(h host) {
	y.t.Helper()
	for id := range y.had {
		if y.ends[id] != 1 {
			y.t.Errorf("session %s was assigned and has %d ends (I2)", id, y.ends[id])
		}
	}
	if n := len(y.fold.Sessions); n > 0 {
		y.t.Errorf("by the log, %d sessions are left (I6)", n)
	}
	names, err := h.client.Do(context.Background(), h.client.B().Keys().Pattern(h.Keys().WorkerPattern()).Build()).AsStrSlice()
	if err != nil {
		y.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, name := range names {
		id, _ := h.Keys().WorkerID(name)
		there[id] = true
	}
	if got := slices.Sorted(maps.Keys(y.fold.Workers)); strings.Join(got, " ") != strings.Join(slices.Sorted(maps.Keys(there)), " ") {
		y.t.Errorf("the log has the workers %v, Redis %v (I6)", got, names)
	}
}

// held are the keys that something is left in which should be empty.
func held(t *testing.T, h host) []string {
	t.Helper()
	k, ctx := h.Keys(), context.Background()
	var left []string
	for _, pattern := range []string{k.Held("*"), k.Owned("*"), k.Queue("*"), k.Waiting(), k.Leases(), k.Classes(), k.Owing()} {
		names, err := h.client.Do(ctx, h.client.B().Keys().Pattern(pattern).Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, names...)
	}
	return left
}

// freeSlots counts by what acquire goes by.
func freeSlots(t *testing.T, h host, workers map[string]event.WorkerInfo) (slots, busy int) {
	t.Helper()
	ctx, k := context.Background(), h.Keys()
	flavours := map[string]bool{}
	for _, w := range workers {
		flavours[w.Flavour] = true
	}
	for flavour := range flavours {
		list, err := h.client.Do(ctx, h.client.B().Zrange().Key(k.Free(flavour)).Min("0").Max("-1").Withscores().Build()).AsZScores()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range list {
			slots += int(workers[w.Member].Slots)
			busy += int(w.Score)
		}
	}
	return slots, busy
}
