package state_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// view is what the rules of the pool are about, read from a dump. Between two
// dumps it is moved on by the events, each of which must be lawful where it
// stands; what comes out must be the second dump.
type view struct {
	workers  map[string]*seenWorker
	sessions map[string]*seenSession // that have not ended
	ended    map[string]bool         // records of ended sessions
	proxies  map[string]bool         // whose lease runs
	waiting  int
	due      map[string]int     // flavour → workers that have left to be started anew
	left     map[string]float64 // number of the last heartbeat of workers that have gone
	over     map[string]bool    // workers that may hold more than their slots
}

type seenWorker struct {
	state, endpoint         string
	flavour                 state.Flavour
	slots, lifetime, served int
	leased                  bool
	beat                    float64
	parked                  bool // it was found without a lease, or owes its slot to somebody behind a dead proxy's clients
}

type seenSession struct {
	state, worker, proxy string
	token                string
	attempt              int
	seq                  int
	demand               state.Demand
	beat                 int64 // when active: under which number it started
	leased               bool  // when assigned: its start lease runs
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func viewOf(d dump, parked map[string]bool) *view {
	v := &view{workers: map[string]*seenWorker{}, sessions: map[string]*seenSession{}, ended: map[string]bool{}, proxies: map[string]bool{}, left: map[string]float64{}, due: map[string]int{}}
	now := d.now()
	for id, till := range d.zset["proxies"] {
		v.proxies[id] = till > now
	}
	for place, till := range d.zset["recycling"] {
		if flavour, _, _ := strings.Cut(place, "|"); till > now {
			v.due[flavour]++
		}
	}
	for _, id := range d.under("left:") {
		v.left[id], _ = strconv.ParseFloat(d.text["left:"+id], 64)
	}
	for _, id := range d.under("worker:") {
		h := d.hash["worker:"+id]
		w := &seenWorker{state: h["state"], endpoint: h["endpoint"], slots: atoi(h["slots"]), lifetime: atoi(h["lifetime"]),
			served: int(d.zset["served"][id]), leased: d.zset["workers"][id] > now, beat: d.zset["beats"][id], parked: parked[id] || d.set["owing"][id]}
		_ = json.Unmarshal([]byte(d.hash["flavours"][h["flavour"]]), &w.flavour)
		v.workers[id] = w
	}
	for _, id := range d.under("session:") {
		h := d.hash["session:"+id]
		if h["state"] == "ended" || h["state"] == "rejected" {
			v.ended[id] = true
			continue
		}
		s := &seenSession{state: h["state"], worker: h["worker"], proxy: h["proxy"], token: h["token"], attempt: atoi(h["attempt"]), seq: atoi(h["seq"])}
		_ = json.Unmarshal([]byte(h["demand"]), &s.demand)
		s.beat = int64(atoi(h["beat"]))
		s.leased = d.zset["leases"][id] > now
		v.sessions[id] = s
		if s.state == "queued" {
			v.waiting++
		}
	}
	return v
}

func (v *view) load(worker string) int {
	n := 0
	for _, s := range v.sessions {
		if s.worker == worker && (s.state == "assigned" || s.state == "active") {
			n++
		}
	}
	return n
}

// room tells whether a worker may get a session; free, whether it must be found.
func (v *view) room(id string) bool {
	w := v.workers[id]
	return w != nil && w.state == "ready" && w.leased && v.load(id) < w.slots && (w.lifetime == 0 || w.served < w.lifetime)
}

func (v *view) free(id string) bool { return v.room(id) && !v.workers[id].parked }

// call is one run of a script, as far as the rules depend on it.
type call struct {
	script   string
	session  string
	worker   string
	proxy    string
	attempt  int
	number   int64
	endpoint string
	force    bool
	reason   string
	again    bool
	limit    int
	token    token
	demand   state.Demand
	served   int
	slots    int
	lifetime int
	flavour  state.Flavour
	state    state.WorkerState
	serving  map[string]bool
	ends     []state.End
}

func (c call) reports(session string) bool {
	return slices.ContainsFunc(c.ends, func(e state.End) bool { return e.Session == session })
}

// apply moves the view on by an event; what it returns is why the event may not be.
func (v *view) apply(c call, e event.Event) (unlawful string) {
	switch {
	case e.Worker != nil:
		return v.worker(c, e)
	case e.Session != nil:
		return v.session(c, e)
	case e.Type == event.PoolReset:
		over := v.over
		*v = *viewOf(dump{}, nil)
		v.over = over
	case e.Type == event.PoolResumed:
		for id := range v.proxies {
			v.proxies[id] = true
		}
		for _, w := range v.workers {
			w.leased = true
		}
		for _, s := range v.sessions {
			s.leased = true
		}
	}
	return ""
}

func (v *view) worker(c call, e event.Event) string {
	id := e.Worker.ID
	w := v.workers[id]
	if last, gone := v.left[id]; gone && c.script == "join" && c.worker == id && float64(c.number) <= last {
		return "its end has overtaken the call"
	}
	if w != nil && c.worker == id && (c.script == "heartbeat" || c.script == "join") && float64(c.number) <= w.beat {
		return "a later word of the worker has overtaken the call"
	}
	own := c.worker == id
	switch e.Type {
	case event.WorkerJoined:
		if c.script != "join" || !own || w != nil {
			return "only its own join brings a worker in, once"
		}
		v.workers[id] = &seenWorker{state: string(c.state), endpoint: c.endpoint, flavour: c.flavour, slots: c.slots, lifetime: c.lifetime, served: c.served, leased: true,
			beat: float64(c.number)}
		return ""
	case event.WorkerLost:
		if w == nil {
			return "it was not there"
		}
		replaced := c.script == "join" && !own && w.endpoint == c.endpoint
		if !replaced && (c.script != "reap" || w.leased) {
			return "a worker is lost to the reaper without a lease, or to a new boot"
		}
		delete(v.workers, id)
		return ""
	case event.WorkerLeft:
		if c.script != "leave" || !own || w == nil {
			return "only a worker itself leaves"
		}
		if !c.force && v.load(id) > 0 {
			return "it leaves sessions behind"
		}
		delete(v.workers, id)
		return ""
	}
	if w == nil {
		return "it was not there"
	}
	was := w.state
	w.state = string(v.stateOf(e))
	switch {
	case was == w.state:
		return "nothing changed"
	case was == "retiring":
		return "retiring is for good"
	case w.state == "suspect" && c.script == "heartbeat" && own && v.over[id]:
		w.leased = true // its sessions were lost by a failover, and it is to bring them back
	case w.state == "suspect" && was != "ready" || w.state == "suspect" && !(c.script == "reassign" && own) && !(c.script == "join" && !own && w.endpoint == c.endpoint):
		return "only a failed dial, or a new boot, makes a ready worker suspect"
	case w.state != "suspect" && !own:
		return "only a worker itself tells of its health"
	case w.state == "retiring" && !slices.Contains([]string{"retire", "heartbeat", "join"}, c.script):
		return "it did not say so"
	case w.state == "retiring" && c.script == "retire" && c.reason != state.RetireDrain && !v.mayRetire(w):
		return "too many of its flavour are on their way out"
	case w.state == "ready" || w.state == "unhealthy":
		if c.script != "heartbeat" && c.script != "join" {
			return "it did not say so"
		}
		w.leased = true
	}
	return ""
}

// mayRetire tells whether four fifths of a flavour stay when this worker goes, or
// nobody else is about to go. Its own state is retiring by now.
func (v *view) mayRetire(w *seenWorker) bool {
	due := v.due[w.flavour.Key()]
	going, members := due, due
	for _, o := range v.workers {
		if o.flavour.Key() != w.flavour.Key() {
			continue
		}
		members++
		if o.state == "retiring" {
			going++
		}
	}
	return going == 1 || going*5 <= members
}

func (v *view) stateOf(e event.Event) event.WorkerState {
	return map[event.Type]event.WorkerState{event.WorkerReady: event.Ready, event.WorkerSuspect: event.Suspect, event.WorkerUnhealthy: event.Unhealthy, event.WorkerRetiring: event.Retiring}[e.Type]
}

func (v *view) session(c call, e event.Event) string {
	id := e.Session.ID
	s := v.sessions[id]
	if w := v.workers[c.worker]; c.script == "heartbeat" && (w == nil || float64(c.number) <= w.beat) {
		return "a later heartbeat has overtaken the call"
	}
	if c.script == "reassign" && c.session == id && s != nil {
		switch w := v.workers[c.worker]; {
		case s.worker != c.worker || s.attempt != c.attempt:
			return "it is another attempt by now"
		case w != nil && w.state == "ready":
			return "the worker that could not be dialled is not suspected"
		}
	}
	switch e.Type {
	case event.SessionQueued:
		return v.queued(c, id, s, e)
	case event.SessionAssigned:
		return v.assigned(c, id, s, e)
	case event.SessionStarted:
		return v.started(c, id, s, e)
	case event.SessionRejected:
		if s == nil {
			if why := v.turnedAway(c, id, e.Session.Reason); why != "" {
				return why
			}
			v.ended[id] = true
			return ""
		}
		if s.attempt > 0 {
			return "it was assigned, so it must end (I2)"
		}
	case event.SessionEnded:
		if s == nil {
			return "it was not there (I2)"
		}
		if s.attempt == 0 {
			return "it was never assigned, so it is rejected"
		}
	}
	why := v.mayEnd(c, id, s, string(e.Session.Reason))
	v.end(id)
	return why
}

func (v *view) end(id string) {
	s := v.sessions[id]
	if s.state == "queued" {
		v.waiting--
	}
	if w := v.workers[s.worker]; s.state == "assigned" && w != nil {
		w.served--
	}
	delete(v.sessions, id)
	v.ended[id] = true
}

// mayEnd knows who may end what.
func (v *view) mayEnd(c call, id string, s *seenSession, reason string) string {
	leased := func(worker string) bool { return v.workers[worker] != nil && v.workers[worker].leased }
	if c.script == "cancel" && c.session == id {
		return ""
	}
	if s.state == "queued" && reason == "proxy_lost" && !v.proxies[s.proxy] {
		return "" // by whoever passes by
	}
	switch c.script {
	case "finish", "proxy_heartbeat":
		owner := c.worker != "" && s.worker == c.worker || c.proxy != "" && s.proxy == c.proxy
		if s.state == "active" && owner && c.reports(id) {
			return ""
		}
	case "heartbeat", "join", "leave":
		if s.state != "active" {
			return "a worker ends only what is active"
		}
		if s.worker == c.worker && (c.reports(id) || c.force) {
			return ""
		}
		if s.worker == c.worker && c.script != "leave" && !c.serving[id] && s.beat < c.number {
			return ""
		}
		if w := v.workers[s.worker]; c.script == "join" && s.worker != c.worker && reason == "worker_lost" &&
			(w == nil || w.endpoint == c.endpoint && w.state != "ready") {
			return "" // of the boot that was on this endpoint
		}
	case "reap":
		switch s.state {
		case "assigned":
			if !s.leased || !v.proxies[s.proxy] {
				return ""
			}
		case "active":
			if !v.proxies[s.proxy] && !leased(s.worker) {
				return ""
			}
		}
	}
	return fmt.Sprintf("a session that is %s is not ended by %s", s.state, c.script)
}

func (v *view) queued(c call, id string, s *seenSession, e event.Event) string {
	switch {
	case c.script == "acquire" && c.session == id && s == nil && !v.ended[id]:
		if !c.again && v.waiting >= c.limit {
			return "the queue is full"
		}
		if !c.again && v.tooManyClasses(c.demand) {
			return "there are as many classes as there may be"
		}
		if why := v.overToken(c, true); why != "" {
			return why
		}
		v.sessions[id] = &seenSession{state: "queued", proxy: c.proxy, token: c.token.name, seq: int(e.Session.Seq), demand: c.demand}
		if _, known := v.proxies[c.proxy]; !known {
			v.proxies[c.proxy] = true
		}
		v.waiting++
	case c.script == "reassign" && c.session == id && s != nil && s.state == "assigned":
		if int(e.Session.Seq) != s.seq {
			return "it lost its place in the queue (I4)"
		}
		if w := v.workers[s.worker]; w != nil {
			w.served--
		}
		s.state, s.worker = "queued", ""
		v.waiting++
	default:
		return "nobody asked for it"
	}
	for worker := range v.workers {
		if v.free(worker) && v.workers[worker].flavour.Fits(v.sessions[id].demand) {
			return "it waits beside " + worker + " (I4)"
		}
	}
	return ""
}

// tooManyClasses tells whether a demand would be one class more than may wait.
func (v *view) tooManyClasses(d state.Demand) bool {
	classes := map[string]bool{}
	for _, s := range v.sessions {
		if s.state == "queued" {
			classes[fmt.Sprint(s.demand)] = true
		}
	}
	return !classes[fmt.Sprint(d)] && len(classes) >= maxClasses
}

func (v *view) assigned(c call, id string, s *seenSession, e event.Event) string {
	to := e.Session.Worker
	direct := false
	switch {
	case s == nil && c.script == "acquire" && c.session == id && !v.ended[id]:
		if why := v.overToken(c, false); why != "" {
			return why
		}
		s = &seenSession{proxy: c.proxy, token: c.token.name, demand: c.demand}
		v.sessions[id] = s
		if _, known := v.proxies[c.proxy]; !known {
			v.proxies[c.proxy] = true
		}
		direct = true
	case s != nil && s.state == "assigned" && c.script == "reassign" && c.session == id:
		if w := v.workers[s.worker]; w != nil {
			w.served--
		}
		s.state, s.worker = "", ""
		direct = true
	case s != nil && s.state == "queued":
		v.waiting--
	default:
		return "nobody asked for it"
	}
	if c.script == "heartbeat" || c.script == "join" {
		v.workers[c.worker].leased = true
	}
	w := v.workers[to]
	switch {
	case !v.room(to):
		return fmt.Sprintf("%s has no room: %+v with load %d (I1)", to, w, v.load(to))
	case !w.flavour.Fits(s.demand):
		return to + " does not fit"
	case int(e.Session.Attempt) != s.attempt+1:
		return "the attempts do not count on"
	}
	if direct {
		for other, o := range v.workers {
			if v.free(other) && o.flavour.Fits(s.demand) && v.load(other) < v.load(to) {
				return fmt.Sprintf("%s has load %d, %s only %d (I5)", to, v.load(to), other, v.load(other))
			}
		}
	} else if !v.proxies[s.proxy] {
		return "its proxy is dead"
	}
	for other, o := range v.sessions {
		if o.state == "queued" && (s.seq == 0 || o.seq < s.seq) && v.proxies[o.proxy] && w.flavour.Fits(o.demand) {
			return "it passed " + other + ", which is older (I4)"
		}
	}
	s.state, s.worker, s.attempt, s.leased = "assigned", to, s.attempt+1, true
	w.served++
	return ""
}

func (v *view) started(c call, id string, s *seenSession, e event.Event) string {
	switch {
	case c.script == "start" && c.session == id && s != nil && s.state == "assigned" && s.worker == c.worker && s.attempt == c.attempt:
		s.state, s.beat = "active", c.number
		s.seq, s.demand = 0, state.Demand{} // it waits no more
		return ""
	case c.script == "join" && c.worker == e.Session.Worker && c.serving[id] && !v.ended[id]:
		if s == nil {
			s = &seenSession{proxy: e.Session.Proxy, token: e.Session.Token}
			v.sessions[id] = s
			if _, known := v.proxies[s.proxy]; !known {
				v.proxies[s.proxy] = true
			}
		}
		if s.state == "active" || s.attempt > int(e.Session.Attempt) {
			return "the pool knows better"
		}
		if s.state == "queued" {
			v.waiting--
		}
		if w := v.workers[s.worker]; s.state == "assigned" && s.worker != c.worker && w != nil {
			w.served--
		}
		s.state, s.worker, s.attempt, s.beat = "active", c.worker, int(e.Session.Attempt), c.number
		s.seq, s.demand = 0, state.Demand{}
		if w := v.workers[c.worker]; v.load(c.worker) > w.slots && !v.over[c.worker] {
			return fmt.Sprintf("%s has %d sessions and %d slots (I1)", c.worker, v.load(c.worker), w.slots)
		}
		return ""
	}
	return "nobody started it"
}

// differs tells in what the view is not what a dump shows after the call.
func (v *view) differs(c call, after *view) []string {
	var wrong []string
	for _, id := range slices.Sorted(maps.Keys(after.sessions)) {
		got, want := after.sessions[id], v.sessions[id]
		if want == nil {
			wrong = append(wrong, "session "+id+" appeared without an event")
			continue
		}
		if want.seq == 0 {
			want.seq = got.seq // that of one that was assigned at once is not in its event
		}
		if got.state != "assigned" {
			want.leased = got.leased
		}
		if got.state != "active" {
			want.beat = got.beat
		}
		if fmt.Sprint(*got) != fmt.Sprint(*want) {
			wrong = append(wrong, fmt.Sprintf("session %s is %+v instead of %+v", id, *got, *want))
		}
	}
	for id := range v.sessions {
		if after.sessions[id] == nil {
			wrong = append(wrong, "session "+id+" vanished without an event")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(after.workers)) {
		got, want := after.workers[id], v.workers[id]
		if want == nil {
			wrong = append(wrong, "worker "+id+" appeared without an event")
			continue
		}
		want.parked = got.parked
		if c.worker == id && c.script == "join" {
			want.served = max(want.served, got.served) // what did not start may be counted in
		}
		if c.worker == id && (c.script == "join" || c.script == "heartbeat") {
			if got.beat < want.beat {
				wrong = append(wrong, fmt.Sprintf("the heartbeats of worker %s go back from %v to %v", id, want.beat, got.beat))
			}
			want.leased, want.beat = got.leased, got.beat
		}
		if fmt.Sprint(*got) != fmt.Sprint(*want) {
			wrong = append(wrong, fmt.Sprintf("worker %s is %+v instead of %+v", id, *got, *want))
		}
	}
	for id := range v.workers {
		if after.workers[id] == nil {
			wrong = append(wrong, "worker "+id+" vanished without an event")
		}
	}
	return wrong
}

// token is a client's token as far as the pool knows it.
type token struct {
	name              string
	sessions, waiting int // limits, 0 = none
}

// uses counts what a token has, and what of it waits.
func (v *view) uses(name string) (all, waiting int) {
	for _, s := range v.sessions {
		if s.token == name {
			all++
			if s.state == "queued" {
				waiting++
			}
		}
	}
	return all, waiting
}

// overToken tells why a token may not get one session more.
func (v *view) overToken(c call, queued bool) string {
	all, waiting := v.uses(c.token.name)
	switch {
	case c.again:
	case c.token.sessions > 0 && all >= c.token.sessions:
		return fmt.Sprintf("token %s has %d sessions already", c.token.name, all)
	case queued && c.token.waiting > 0 && waiting >= c.token.waiting:
		return fmt.Sprintf("token %s has %d waiting sessions already", c.token.name, waiting)
	}
	return ""
}

// turnedAway tells why a client may not be rejected before it had anything.
func (v *view) turnedAway(c call, id string, reason event.Reason) string {
	if c.script != "acquire" || c.session != id || c.again {
		return "nobody may turn it away"
	}
	all, waiting := v.uses(c.token.name)
	switch {
	case reason == event.ReasonQueueFull && v.waiting >= c.limit:
	case reason == event.ReasonTokenLimit && c.token.sessions > 0 && all >= c.token.sessions:
	case reason == event.ReasonTokenQueue && c.token.waiting > 0 && waiting >= c.token.waiting:
	default:
		return fmt.Sprintf("nothing is full: %d wait, the token has %d, of which %d wait", v.waiting, all, waiting)
	}
	return ""
}
