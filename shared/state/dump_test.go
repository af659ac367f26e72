package state_test

import (
	"sort"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// dumpScript reads a whole pool in one step.
var dumpScript = rueidis.NewLuaScript(`
local call, all = redis.call, {}
for _, key in ipairs(call('KEYS', ARGV[1] .. '*')) do
  local kind, value = call('TYPE', key).ok, nil
  local name, ttl = string.sub(key, #ARGV[1] + 1), call('PTTL', key)
  if kind == 'hash' then value = call('HGETALL', key)
  elseif kind == 'set' then value = call('SMEMBERS', key)
  elseif kind == 'zset' then value = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'string' then value = { call('GET', key) }
  else value = {} end
  all[#all + 1] = { name, kind, tostring(ttl), value }
end
return all`)

// headWords are what the words of a pool's head are; a dump has each as a text.
var headWords = []string{"schema", "epoch", "rev", "resumed", "clock"}

// dump is the content of a pool's keys, under their names without the prefix.
type dump struct {
	hash map[string]map[string]string
	set  map[string]map[string]bool
	zset map[string]map[string]float64
	text map[string]string
	ttl  map[string]int64 // ms; -1 = none
}

func (p *pool) dump() dump {
	p.t.Helper()
	all, err := dumpScript.Exec(ctx, p.c, nil, []string{p.k.Prefix()}).ToArray()
	if err != nil {
		p.t.Fatalf("dump: %v", err)
	}
	d := dump{map[string]map[string]string{}, map[string]map[string]bool{}, map[string]map[string]float64{}, map[string]string{}, map[string]int64{}}
	served := map[string]float64{}
	for _, row := range all {
		cell, err := row.ToArray()
		require.NoError(p.t, err)
		name, _ := cell[0].ToString()
		kind, _ := cell[1].ToString()
		ttl, _ := cell[2].ToString()
		v, err := cell[3].AsStrSlice()
		require.NoError(p.t, err)
		d.ttl[name], _ = strconv.ParseInt(ttl, 10, 64)
		switch kind {
		case "hash":
			h := make(map[string]string, len(v)/2)
			for i := 0; i+1 < len(v); i += 2 {
				h[v[i]] = v[i+1]
			}
			d.hash[name] = h
		case "set":
			d.set[name] = map[string]bool{}
			for _, m := range v {
				d.set[name][m] = true
			}
		case "zset":
			d.zset[name] = map[string]float64{}
			for i := 0; i < len(v); i += 2 {
				d.zset[name][v[i]], err = strconv.ParseFloat(v[i+1], 64)
				require.NoError(p.t, err)
			}
		case "string":
			d.text[name] = v[0]
			if strings.HasPrefix(name, "session:") {
				d.hash[name] = state.RecordFields(v[0])
			}
			if id, ok := strings.CutPrefix(name, "served:"); ok {
				served[id], err = strconv.ParseFloat(v[0], 64)
				require.NoError(p.t, err)
			}
			if words := strings.Fields(v[0]); name == "head" && len(words) == len(headWords) {
				for i, word := range headWords {
					d.text[word] = words[i]
				}
			}
		}
	}
	if len(served) > 0 {
		d.zset["served"] = served // as the other numbers of workers are kept
	}
	d.resume(p.Options())
	return d
}

// resume puts deadlines to where they are judged after time stood still.
func (d dump) resume(o state.Options) {
	at, _ := strconv.ParseFloat(d.text["resumed"], 64)
	for name, lease := range leases(o) {
		for member, till := range d.zset[name] {
			d.zset[name][member] = max(till, at+lease)
		}
	}
}

// leases are the zsets of deadlines and for how many ms these are given.
func leases(o state.Options) map[string]float64 {
	process, start := float64(o.ProcessLease.Milliseconds()), float64(o.StartLease.Milliseconds())
	return map[string]float64{"workers": process, "proxies": process, "leases": start, "fading": 60_000, "recycling": 60_000}
}

// under lists what stands behind the prefix in the names of keys, as in
// under("worker:").
func (d dump) under(prefix string) []string {
	var ids []string
	for name := range d.ttl {
		if id, ok := strings.CutPrefix(name, prefix); ok {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids
}

func (d dump) now() float64 {
	n, _ := strconv.ParseFloat(d.text["clock"], 64)
	return n
}

// capacity is what a ready worker may still take.
func (d dump) capacity(id string) int {
	w := d.hash["worker:"+id]
	slots, _ := strconv.Atoi(w["slots"])
	lifetime, _ := strconv.Atoi(w["lifetime"])
	n := slots - len(d.set["held:"+id])
	if lifetime > 0 {
		n = min(n, lifetime-int(d.zset["served"][id]))
	}
	return n
}
