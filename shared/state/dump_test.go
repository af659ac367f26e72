package state_test

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
)

// dumpScript reads a whole pool in one step.
var dumpScript = rueidis.NewLuaScript(`
local call, all = redis.call, {}
for _, key in ipairs(call('KEYS', ARGV[1] .. '*')) do
  local kind, value = call('TYPE', key).ok, nil
  if kind == 'hash' then value = call('HGETALL', key)
  elseif kind == 'set' then value = call('SMEMBERS', key)
  elseif kind == 'zset' then value = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'string' then value = { call('GET', key) }
  else value = { '-' } end
  all[#all + 1] = { string.sub(key, #ARGV[1] + 1), kind, tostring(call('PTTL', key)), value }
end
return cjson.encode(all)`)

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
	text, err := dumpScript.Exec(ctx, p.c, nil, []string{p.k.Prefix()}).ToString()
	require.NoError(p.t, err)
	var all [][]json.RawMessage
	if text != "{}" {
		require.NoError(p.t, json.Unmarshal([]byte(text), &all))
	}
	d := dump{map[string]map[string]string{}, map[string]map[string]bool{}, map[string]map[string]float64{}, map[string]string{}, map[string]int64{}}
	for _, row := range all {
		var name, kind, ttl string
		var v []string
		for i, to := range []any{&name, &kind, &ttl, &v} {
			require.NoError(p.t, json.Unmarshal(row[i], to))
		}
		d.ttl[name], _ = strconv.ParseInt(ttl, 10, 64)
		switch kind {
		case "hash":
			d.hash[name] = map[string]string{}
			for i := 0; i < len(v); i += 2 {
				d.hash[name][v[i]] = v[i+1]
			}
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
		}
	}
	return d
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
