package state_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// check holds the whole pool against the rules that hold between any two calls,
// and against the log.
func (p *pool) check() {
	p.t.Helper()
	p.read()
	d := p.dump()
	if d.text["epoch"] == "" {
		return
	}
	if wrong := p.verdict(d); len(wrong) > 0 {
		p.t.Fatalf("the pool is inconsistent:\n  %s", strings.Join(wrong, "\n  "))
	}
}

// verdict lists what is wrong with a state of the pool.
func (p *pool) verdict(d dump) []string {
	var wrong []string
	v := verdict{dump: d, over: p.over, parked: p.parked, say: func(f string, a ...any) { wrong = append(wrong, fmt.Sprintf(f, a...)) }}
	v.workers()
	v.slots()
	v.free()
	v.parting()
	v.least()
	v.sessions()
	v.queues()
	v.tokens()
	v.reachable()
	v.woken()
	v.flavours()
	v.expiries()
	v.names()
	v.log(&p.fold)
	if n := len(d.hash["flavours"]); n > p.Options().MaxFlavours {
		v.say("there are %d flavours, of which there may be %d", n, p.Options().MaxFlavours)
	}
	slices.Sort(wrong)
	return wrong
}

type verdict struct {
	dump
	over   map[string]bool // workers that may hold more than their slots
	parked map[string]bool // workers that are free again with their next heartbeat
	say    func(format string, args ...any)
}

func (v verdict) alive(zset, id string) bool {
	till, ok := v.zset[zset][id]
	return ok && till > v.now()
}

func (v verdict) workers() {
	for _, id := range v.under("worker:") {
		w := v.hash["worker:"+id]
		for _, zset := range []string{"workers", "beats", "served"} {
			if _, ok := v.zset[zset][id]; !ok {
				v.say("worker %s is not in %s", id, zset)
			}
		}
		if !v.set["members:"+w["flavour"]][id] {
			v.say("worker %s is no member of its flavour", id)
		}
		if v.hash["endpoints"][w["endpoint"]] != id {
			v.say("the endpoint of worker %s is %s's", id, v.hash["endpoints"][w["endpoint"]])
		}
		if _, is := v.zset["retiring"][id]; is != (w["state"] == "retiring") {
			v.say("worker %s is %s, in the set of the retiring: %v", id, w["state"], is)
		}
		if _, ok := v.zset["changed"][id]; !ok {
			v.say("worker %s never changed", id)
		}
	}
	known := func(where string, ids map[string]float64) {
		for id := range ids {
			if v.hash["worker:"+id] == nil {
				v.say("%s names the unknown worker %s", where, id)
			}
		}
	}
	for _, zset := range []string{"workers", "beats", "served", "retiring"} {
		known(zset, v.zset[zset])
	}
	for _, flavour := range v.under("free:") {
		known("free:"+flavour, v.zset["free:"+flavour])
	}
	for endpoint, id := range v.hash["endpoints"] {
		if v.hash["worker:"+id]["endpoint"] != endpoint {
			v.say("endpoint %s is not that of worker %s", endpoint, id)
		}
	}
	rev, _ := strconv.ParseFloat(v.text["rev"], 64)
	for id, at := range v.zset["changed"] {
		if at > rev {
			v.say("worker %s changed after the last revision", id)
		}
	}
}

// slots: I1, and a held slot is a session that holds it.
func (v verdict) slots() {
	for _, id := range v.under("held:") {
		for sid := range v.set["held:"+id] {
			s := v.hash["session:"+sid]
			if s["worker"] != id || s["state"] != "assigned" && s["state"] != "active" {
				v.say("held:%s names session %s, which is %s at %q (I3)", id, sid, s["state"], s["worker"])
			}
		}
		if w := v.hash["worker:"+id]; w != nil && !v.over[id] {
			if slots, _ := strconv.Atoi(w["slots"]); len(v.set["held:"+id]) > slots {
				v.say("worker %s holds %d sessions with %d slots (I1)", id, len(v.set["held:"+id]), slots)
			}
		}
	}
}

// least: it has each flavour that has anybody free, and no more than the load of the first (I5).
func (v verdict) least() {
	want := map[string]float64{}
	for _, flavour := range v.under("free:") {
		for _, load := range v.zset["free:"+flavour] {
			if first, ok := want[flavour]; !ok || load < first {
				want[flavour] = load
			}
		}
	}
	noted := v.zset["least"]
	for flavour, load := range noted {
		if first, ok := want[flavour]; !ok || load > first {
			v.say("the least load of flavour %s is %v, and noted as %v (I5)", flavour, first, load)
		}
	}
	if len(noted) != len(want) {
		v.say("of the flavours %v, which have a worker free, there are noted %v (I5)", want, noted)
	}
}

// free: it lists exactly who has room, with the load. Who was found without a
// lease is left out until its next heartbeat.
func (v verdict) free() {
	for _, id := range v.under("worker:") {
		w := v.hash["worker:"+id]
		for _, flavour := range v.under("free:") {
			score, listed := v.zset["free:"+flavour][id]
			switch {
			case listed && flavour != w["flavour"]:
				v.say("worker %s is free under another flavour", id)
			case listed && (w["state"] != "ready" || v.capacity(id) <= 0):
				v.say("worker %s is free, but %s with capacity %d", id, w["state"], v.capacity(id))
			case listed && int(math.Ceil(score)) != len(v.set["held:"+id]):
				v.say("worker %s is free with load %v instead of %d", id, score, len(v.set["held:"+id]))
			}
		}
		_, listed := v.zset["free:"+w["flavour"]][id]
		if !listed && w["state"] == "ready" && v.capacity(id) > 0 && v.alive("workers", id) && !v.parked[id] && !v.set["owing"][id] {
			v.say("worker %s has capacity %d, but is not free", id, v.capacity(id))
		}
	}
}

// parting: only of workers that were let go may the lifetime leave a slot of theirs
// without a session.
func (v verdict) parting() {
	for id := range v.zset["parting"] {
		if state := v.hash["worker:"+id]["state"]; state != "ready" {
			v.say("worker %s parts, but is %q", id, state)
		}
	}
	for _, id := range v.under("worker:") {
		w := v.hash["worker:"+id]
		_, parts := v.zset["parting"][id]
		room := atoi(w["slots"]) - len(v.set["held:"+id])
		if w["state"] == "ready" && !parts && !v.over[id] && v.capacity(id) < room {
			v.say("worker %s does not part, but has sessions left for %d of %d slots", id, v.capacity(id), room)
		}
	}
}

func (v verdict) sessions() {
	for _, id := range v.under("session:") {
		s := v.hash["session:"+id]
		holds := s["state"] == "assigned" || s["state"] == "active"
		if holds && !v.set["held:"+s["worker"]][id] {
			v.say("session %s is %s, but holds no slot of %s", id, s["state"], s["worker"])
		}
		if _, has := v.zset["leases"][id]; has != (s["state"] == "assigned") {
			v.say("session %s is %s, has a start lease: %v", id, s["state"], has)
		}
		_, ended := v.zset["ended"][id]
		if ended && s["state"] != "ended" && s["state"] != "rejected" {
			v.say("session %s is %s, but among the ended", id, s["state"])
		}
	}
	for id := range v.zset["leases"] {
		if v.hash["session:"+id] == nil {
			v.say("there is a lease of the unknown session %s", id)
		}
	}
}

func (v verdict) queues() {
	waiting := map[string]float64{}
	for _, class := range v.under("queue:") {
		if v.hash["classes"][class] == "" {
			v.say("class %s is not known", class)
		}
		for id, seq := range v.zset["queue:"+class] {
			s := v.hash["session:"+id]
			if s["state"] != "queued" || s["class"] != class || s["seq"] != strconv.FormatFloat(seq, 'f', 0, 64) {
				v.say("queue:%s names session %s, which is %s of class %s", class, id, s["state"], s["class"])
			}
			waiting[id] = seq
		}
	}
	for _, id := range v.under("session:") {
		if _, ok := waiting[id]; v.hash["session:"+id]["state"] == "queued" && !ok {
			v.say("session %s is queued, but in no queue", id)
		}
	}
	for class := range v.hash["classes"] {
		if len(v.zset["queue:"+class]) == 0 {
			v.say("nobody waits in class %s", class)
		}
	}
	if fmt.Sprint(waiting) != fmt.Sprint(v.zset["waiting"]) && len(waiting)+len(v.zset["waiting"]) > 0 {
		v.say("the queues hold %v, waiting is %v", waiting, v.zset["waiting"])
	}
}

// tokens: each names exactly the sessions that came with it, and which of them wait.
func (v verdict) tokens() {
	for _, id := range v.under("session:") {
		s := v.hash["session:"+id]
		if s["token"] == "" || s["state"] == "ended" || s["state"] == "rejected" {
			continue
		}
		want := 0.0
		if s["state"] == "queued" {
			want, _ = strconv.ParseFloat(s["seq"], 64)
		}
		if got, ok := v.zset["token:"+s["token"]][id]; !ok || got != want {
			v.say("session %s is %s, and for token %s it is there: %v, with %v", id, s["state"], s["token"], ok, got)
		}
	}
	for _, name := range v.under("token:") {
		for id := range v.zset["token:"+name] {
			if s := v.hash["session:"+id]; s["token"] != name || s["state"] == "ended" || s["state"] == "rejected" {
				v.say("token %s is charged with session %s, which is %q of %q", name, id, s["state"], s["token"])
			}
		}
	}
}

// reachable: of every session there is somebody whose loss leads the reaper to it.
func (v verdict) reachable() {
	for _, id := range v.under("session:") {
		s := v.hash["session:"+id]
		_, proxy := v.zset["proxies"][s["proxy"]]
		owned := proxy && v.set["owned:"+s["proxy"]][id]
		_, worker := v.zset["workers"][s["worker"]]
		switch s["state"] {
		case "queued", "assigned":
			if !owned {
				v.say("session %s is %s, but no proxy owns it (I3)", id, s["state"])
			}
		case "active":
			if !owned && !worker {
				v.say("session %s is active, but neither proxy nor worker leads to it (I3)", id)
			}
		}
	}
	for _, id := range v.under("owned:") {
		for sid := range v.set["owned:"+id] {
			switch s := v.hash["session:"+sid]; s["state"] {
			case "queued", "assigned", "active":
			default:
				v.say("proxy %s owns session %s, which is %q", id, sid, s["state"])
			}
		}
	}
}

// woken: I4, as far as it can be seen from outside of a call.
func (v verdict) woken() {
	for class, text := range v.hash["classes"] {
		var demand state.Demand
		_ = json.Unmarshal([]byte(text), &demand)
		waits := false
		for id := range v.zset["queue:"+class] {
			waits = waits || v.alive("proxies", v.hash["session:"+id]["proxy"])
		}
		for id, text := range v.hash["flavours"] {
			var flavour state.Flavour
			_ = json.Unmarshal([]byte(text), &flavour)
			if !waits || !flavour.Fits(demand) {
				continue
			}
			for worker := range v.zset["free:"+id] {
				if v.alive("workers", worker) {
					v.say("a ticket of %s waits beside worker %s, which has room (I4)", text, worker)
				}
			}
		}
	}
}

func (v verdict) flavours() {
	for _, id := range v.under("members:") {
		if v.hash["flavours"][id] == "" {
			v.say("flavour %s has members, but is not known", id)
		}
		for worker := range v.set["members:"+id] {
			if v.hash["worker:"+worker]["flavour"] != id {
				v.say("worker %s is no member of %s", worker, id)
			}
		}
	}
	for id := range v.hash["flavours"] {
		_, fading := v.zset["fading"][id]
		if fading != (len(v.set["members:"+id]) == 0) {
			v.say("flavour %s has %d workers, fades: %v", id, len(v.set["members:"+id]), fading)
		}
	}
	for class, list := range v.hash["fits"] {
		text := v.hash["classes"][class]
		if text == "" {
			continue
		}
		var demand state.Demand
		_ = json.Unmarshal([]byte(text), &demand)
		for id, text := range v.hash["flavours"] {
			var flavour state.Flavour
			_ = json.Unmarshal([]byte(text), &flavour)
			if strings.Contains(list, ","+id+",") != flavour.Fits(demand) {
				v.say("what fits class %s is remembered wrongly", class)
			}
		}
	}
}

func (v verdict) expiries() {
	for _, id := range v.under("session:") {
		s := v.hash["session:"+id]
		over := s["state"] == "ended" || s["state"] == "rejected"
		if over != (v.ttl["session:"+id] > 0) {
			v.say("session %s is %s with a time to live of %d", id, s["state"], v.ttl["session:"+id])
		}
	}
	for _, family := range []string{"inbox:", "left:"} {
		for _, id := range v.under(family) {
			if v.ttl[family+id] < 0 {
				v.say("%s%s never goes away", family, id)
			}
		}
	}
}

// names: there are no keys that nobody knows of.
func (v verdict) names() {
	fixed := []string{"schema", "head", "tick", "seq", "events", "workers", "proxies", "leases", "fading", "recycling", "retiring", "parting", "owing",
		"changed", "beats", "endpoints", "flavours", "fits", "least", "classes", "waiting", "ended"}
	families := []string{"worker", "held", "owned", "members", "free", "session", "queue", "inbox", "left", "token", "served"}
	for name := range v.ttl {
		family, _, many := strings.Cut(name, ":")
		if many && !slices.Contains(families, family) || !many && !slices.Contains(fixed, name) {
			v.say("there is an unknown key %s", name)
		}
	}
}

// log: I6.
func (v verdict) log(fold *event.State) {
	for _, id := range v.under("worker:") {
		if got, want := string(fold.Workers[id].State), v.hash["worker:"+id]["state"]; got != want {
			v.say("the log has worker %s as %q, Redis as %q (I6)", id, got, want)
		}
	}
	for id := range fold.Workers {
		if v.hash["worker:"+id] == nil {
			v.say("the log has worker %s, Redis has not (I6)", id)
		}
	}
	for _, id := range v.under("session:") {
		s := v.hash["session:"+id]
		if s["state"] == "ended" || s["state"] == "rejected" {
			continue
		}
		n := fold.Sessions[id]
		got := fmt.Sprint(n.State, n.Worker, n.Proxy, n.Attempt, n.Playwright, n.BrowserVersion)
		want := fmt.Sprint(event.SessionState(s["state"]), s["worker"], s["proxy"], s["attempt"], s["playwright"], s["browser_version"])
		if got != want {
			v.say("the log has session %s as %s, Redis as %s (I6)", id, got, want)
		}
	}
	for id, n := range fold.Sessions {
		if s := v.hash["session:"+id]; s["state"] != string(n.State) {
			v.say("the log has session %s as %s, Redis as %q (I6)", id, n.State, s["state"])
		}
	}
	for id, load := range fold.Loads() {
		if load != len(v.set["held:"+id]) {
			v.say("worker %s has load %d by the log and %d in Redis (I6)", id, load, len(v.set["held:"+id]))
		}
	}
}
