package state_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// world is what the processes around a pool know, as opposed to what Redis does:
// workers with connections, proxies with clients, calls that are still on their
// way. Every call of a script is held against the rules of view.
type world struct {
	t       *rapid.T
	p       *pool
	last    dump
	workers []*process
	proxies []*process
	clients []*client
	late    []delayed
	backup  *backup
	lossy   bool // Redis has lost writes
	ids     map[string]int
	seen    map[string]int // script and outcome → how often
}

// process is a worker or a proxy.
type process struct {
	state.Worker
	dead     bool
	sick     bool // its browser is down
	retiring bool
	number   int64
	started  int
	serving  map[string]connection
	ends     []state.End           // to be reported with the next heartbeat
	untold   map[string]connection // what a worker reports so
	joined   delayed               // the last join that it sent
	heeded   string                // of a proxy: the last reply to a heartbeat that it has heeded
}

type connection struct {
	attempt int
	nonce   string
	proxy   string
	token   string
	age     time.Duration // as a join tells it: the order in which they began
}

// client is a connection from outside, or the wish for one.
type client struct {
	id      string
	proxy   *process
	request state.Request
	phase   string // asking, waiting, granted, running, closed
	grant   state.Grant
}

type delayed struct {
	call
	run func()
}

func newWorld(t *rapid.T, p *pool) *world {
	w := &world{t: t, p: p, ids: map[string]int{}, last: p.dump()}
	return w
}

func (w *world) id(kind string) string {
	w.ids[kind]++
	return fmt.Sprint(kind, w.ids[kind])
}

// pick draws one of the list that the filter lets through; without any, the
// action is skipped.
func pick[T any](t *rapid.T, what string, list []T, filter func(T) bool) T {
	var fit []T
	for _, v := range list {
		if filter(v) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		t.Skip("no", what)
	}
	return fit[rapid.IntRange(0, len(fit)-1).Draw(t, what)]
}

func chance(t *rapid.T, what string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(t, what) >= 100-percent
}

func alive(p *process) bool { return !p.dead }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// refresh takes in what was changed without a script.
func (w *world) refresh() { w.last = w.p.dump() }

// saw counts an outcome of a script.
func (w *world) saw(script string, outcome ...string) {
	w.seen[strings.Join(strings.Fields(script+": "+strings.Join(outcome, " ")), " ")]++
}

func some(n int, what string) string {
	if n > 0 {
		return what
	}
	return ""
}

// run makes one call and holds what it did against the rules.
func (w *world) run(c call, f func()) {
	w.t.Helper()
	before := w.last
	v := viewOf(before, w.p.parked)
	v.over = w.p.over
	if c.script == "proxy_heartbeat" {
		v.proxies[c.proxy] = true
	}
	f()
	c = w.prolonged(c, v)
	for _, e := range w.p.read() {
		w.t.Logf("    %s %s %s", e.Type, e.Subject(), about(e))
		if e.Type == event.PoolResumed {
			w.park(before, v)
		}
		if why := v.apply(c, e); why != "" {
			w.t.Fatalf("%+v\nmade %s of %s %s, which may not be: %s", c, e.Type, e.Subject(), about(e), why)
		}
	}
	w.refresh()
	if len(w.last.set["owing"]) > len(before.set["owing"]) {
		w.saw("slots are owed after " + c.script)
	}
	for id := range w.p.parked {
		if _, back := w.last.zset["free:"+w.last.hash["worker:"+id]["flavour"]][id]; back || w.last.hash["worker:"+id] == nil {
			delete(w.p.parked, id)
		}
	}
	if wrong := v.differs(c, viewOf(w.last, w.p.parked)); len(wrong) > 0 {
		w.t.Fatalf("%+v\nleft what its events do not tell:\n  %s", c, strings.Join(wrong, "\n  "))
	}
	if old := before.hash["endpoints"][c.endpoint]; c.script == "join" && old != "" && old != w.last.hash["endpoints"][c.endpoint] {
		for _, id := range w.last.under("session:") {
			if s := w.last.hash["session:"+id]; s["state"] == "active" && s["worker"] == old {
				w.t.Fatalf("%+v\nleft session %s active on %s, whose place was taken (I3)", c, id, old)
			}
		}
	}
	if wrong := w.p.verdict(w.last); len(wrong) > 0 {
		w.t.Fatalf("%+v\nleft the pool inconsistent:\n  %s", c, strings.Join(wrong, "\n  "))
	}
	for name, most := range map[string]int{"one": 1, "three": 3} {
		if n := len(w.last.zset["token:"+name]); n > most && !w.lossy {
			w.t.Fatalf("%+v\nleft token %s with %d sessions, of which it may have %d", c, name, n, most)
		}
	}
}

// prolonged takes in which workers serve on for longer, since they may not go yet.
func (w *world) prolonged(c call, v *view) call {
	look := func(id string, was, served, slots int) int {
		if was == 0 {
			return 0
		}
		lifetime, err := w.p.do("HGET", w.p.k.Worker(id), "lifetime").ToString()
		is := atoi(lifetime)
		if err != nil || is == was {
			return was // it has gone, which its event tells, or nothing happened
		}
		w.saw("prolonged by " + c.script)
		if is < was || is > max(was, served)+2*slots {
			w.t.Fatalf("%+v\nchanged the lifetime of %s from %d to %d", c, id, was, is)
		}
		return is
	}
	for id, worker := range v.workers {
		worker.lifetime = look(id, worker.lifetime, worker.served, worker.slots)
	}
	if c.script == "join" && v.workers[c.worker] == nil {
		c.lifetime = look(c.worker, c.lifetime, c.served, c.slots)
	}
	return c
}

// park marks who lost its place among the free before time stood still.
func (w *world) park(before dump, v *view) {
	for id, worker := range v.workers {
		_, free := before.zset["free:"+before.hash["worker:"+id]["flavour"]][id]
		if !worker.leased && !free {
			w.p.parked[id], worker.parked = true, true
		}
	}
}

func about(e event.Event) string {
	if s := e.Session; s != nil {
		return fmt.Sprintf("attempt %d at %q by %s %s", s.Attempt, s.Worker, s.Proxy, s.Reason)
	}
	return ""
}

// send makes a call now, makes it twice as if the first reply had been lost, or
// keeps it for later; whether the caller has its answer is what it returns.
func (w *world) send(t *rapid.T, c call, f func()) (answered bool) {
	switch n := rapid.IntRange(0, 19).Draw(t, "reply of "+c.script); {
	case n == 17:
		w.t.Logf("  (late) %s %s %s", c.script, c.session, c.worker)
		w.late = append(w.late, delayed{c, f})
		return false
	case n == 18:
		w.run(c, f)
		return false
	case n == 19:
		w.run(c, f)
		w.run(c, f)
		return true
	}
	w.run(c, f)
	return true
}

// proxies

func (w *world) newProxy() {
	p := &process{Worker: state.Worker{ID: w.id("p")}}
	w.proxies = append(w.proxies, p)
	w.proxyBeat(w.t, p)
}

func (w *world) proxyBeat(t *rapid.T, p *process) {
	ends, heeded := p.ends, p.heeded // as they are when the call is sent
	lapsed, told := false, ""
	if !w.send(t, call{script: "proxy_heartbeat", proxy: p.ID, ends: ends}, func() {
		r, err := w.p.ProxyHeartbeat(ctx, p.ID, heeded, ends...)
		require.NoError(w.t, err)
		w.saw("proxy_heartbeat", map[bool]string{true: "new", false: "known"}[r.New], some(len(ends), "reports ends"))
		lapsed, told = r.New, r.Told
	}) {
		return
	}
	p.heeded = told
	p.ends = p.ends[len(ends):]
	for _, e := range ends {
		if s := w.last.hash["session:"+e.Session]; s["state"] == "active" && s["proxy"] == p.ID {
			w.t.Fatalf("session %s goes on although its proxy has reported its end", e.Session)
		}
	}
	if !lapsed {
		w.waits(p)
		return
	}
	for _, c := range w.clients {
		if c.proxy == p && (c.phase == "waiting" || c.phase == "granted") {
			c.phase = "asking" // until it is answered
			w.acquire(t, c, true)
		}
	}
}

// waits checks that whoever waits by what a proxy knows does wait: when its
// heartbeat is answered as usual, all that happened to them is in its inbox.
func (w *world) waits(p *process) {
	if w.lossy {
		return
	}
	w.inbox(p)
	for _, c := range w.clients {
		if s := w.last.hash["session:"+c.id]; c.proxy == p && c.phase == "waiting" && s["state"] != "queued" {
			w.t.Fatalf("%s waits, but is %q, and %s does not know", c.id, s["state"], p.ID)
		}
	}
}

func (w *world) acquire(t *rapid.T, c *client, again bool) {
	r := c.request
	r.Again = again
	var st state.Standing
	before := viewOf(w.last, w.p.parked)
	answered := w.send(t, call{script: "acquire", session: c.id, proxy: c.proxy.ID, demand: r.Demand, limit: r.QueueLimit, again: again,
		token: token{r.Token, r.TokenSessions, r.TokenQueue}}, func() {
		var err error
		st, err = w.p.Acquire(ctx, r)
		require.NoError(w.t, err)
		w.saw("acquire", string(st.Phase), st.Reason)
	})
	if answered {
		w.standing(c, st, before)
	}
}

// standing takes the answer of acquire or reassign, which must be the truth.
func (w *world) standing(c *client, st state.Standing, before *view) {
	s := w.last.hash["session:"+c.id]
	switch st.Phase {
	case state.Assigned, state.Active:
		got := fmt.Sprint(st.Phase, st.Grant.Worker, st.Grant.Attempt, st.Grant.Endpoint)
		want := fmt.Sprint(s["state"], s["worker"], s["attempt"], w.last.hash["worker:"+s["worker"]]["endpoint"])
		require.Equal(w.t, want, got)
	case state.Queued:
		require.Equal(w.t, "queued", s["state"])
		require.Equal(w.t, len(w.last.zset["waiting"]), st.Waiting)
		place := 0
		for _, seq := range w.last.zset["queue:"+s["class"]] {
			if seq <= float64(atoi(s["seq"])) {
				place++
			}
		}
		require.Equal(w.t, place, st.Place)
	case state.Ended, state.Rejected:
		require.Equal(w.t, []string{string(st.Phase), st.Reason}, []string{s["state"], s["reason"]})
	case state.Unknown, state.Refused:
		require.Empty(w.t, s)
		if st.Reason == "no_match" && w.last.text["epoch"] != oldEpoch {
			w.t.Fatalf("%s was turned away while workers may still be on their way back", c.id)
		}
	default:
		w.t.Fatalf("no answer: %+v", st)
	}
	if st.Phase == state.Refused || (st.Reason == "queue_full" || st.Reason == "token_queue") && !before.ended[c.id] {
		for id, worker := range before.workers {
			if before.free(id) && worker.flavour.Fits(c.request.Demand) {
				w.t.Fatalf("%s was turned away although %s has room (I4)", c.id, id)
			}
		}
	}
	switch st.Phase {
	case state.Assigned:
		c.phase, c.grant = "granted", st.Grant
	case state.Queued:
		c.phase = "waiting"
	case state.Unknown:
		c.phase = "asking"
	case state.Active:
		// It was started, but the proxy did not hear of it: it gives up.
		c.phase = "granted"
		w.leave(w.t, c)
	default:
		c.phase = "closed"
	}
}

// inbox lets a proxy read its grants.
func (w *world) inbox(p *process) {
	for _, n := range w.p.inbox(p.ID) {
		i := slices.IndexFunc(w.clients, func(c *client) bool { return c.id == n.Session && c.proxy == p })
		if i < 0 {
			w.t.Fatalf("%s was told of %s, which is not its", p.ID, n.Session)
		}
		c := w.clients[i]
		switch {
		case c.phase == "closed" || c.phase == "running":
		case n.Granted && n.Grant.Attempt > c.grant.Attempt:
			c.phase, c.grant = "granted", n.Grant
		case n.Ended != "":
			c.phase = "closed"
		}
	}
	w.refresh()
}

// dial connects a client to the worker of its grant.
func (w *world) dial(t *rapid.T, c *client) {
	var gate *process
	for _, p := range w.workers {
		if !p.dead && p.Endpoint == c.grant.Endpoint {
			gate = p // the last one has the endpoint
		}
	}
	if gate != nil && !gate.sick && len(gate.serving) < gate.Slots && !chance(t, "dial fails", 15) {
		a, nonce := state.StartAnswer(""), w.id("n")
		attempt, number := c.grant.Attempt, gate.number // as they are when the call is sent
		answered := w.send(t, call{script: "start", session: c.id, worker: gate.ID, attempt: attempt, number: number}, func() {
			var err error
			a, err = w.p.Start(ctx, c.id, gate.ID, attempt, nonce, number)
			require.NoError(w.t, err)
			w.saw("start", string(a))
		})
		if answered && a == state.StartOK {
			require.Equal(w.t, gate.ID, c.grant.Worker)
			gate.serving[c.id] = connection{attempt, nonce, c.proxy.ID, c.request.Token, time.Second - time.Duration(gate.started)*time.Millisecond}
			gate.started++
			c.phase = "running"
			if len(gate.serving) > gate.Slots {
				w.t.Fatalf("%s serves more than it has slots (I1)", gate.ID)
			}
			return
		}
	}
	w.reassign(t, c)
}

func (w *world) reassign(t *rapid.T, c *client) {
	g := c.grant
	var st state.Standing
	before := viewOf(w.last, w.p.parked)
	if w.send(t, call{script: "reassign", session: c.id, worker: g.Worker, attempt: g.Attempt}, func() {
		var err error
		st, err = w.p.Reassign(ctx, c.id, g.Worker, g.Attempt)
		require.NoError(w.t, err)
		w.saw("reassign", string(st.Phase))
	}) {
		w.standing(c, st, before)
	}
}

// leave closes a client, in whatever phase it is.
func (w *world) leave(t *rapid.T, c *client) {
	was := c.phase
	c.phase = "closed"
	if was == "running" {
		w.hangUp(t, c.id, "client_closed")
		c.proxy.ends = append(c.proxy.ends, state.End{Session: c.id, Reason: "client_closed"})
		return
	}
	w.cancel(t, c)
}

func (w *world) cancel(t *rapid.T, c *client) {
	if !w.send(t, call{script: "cancel", session: c.id, proxy: c.proxy.ID}, func() {
		was, err := w.p.Cancel(ctx, c.id, c.proxy.ID, "cancelled")
		require.NoError(w.t, err)
		w.saw("cancel", string(was))
	}) {
		// Its proxy tries again until it has an answer.
		w.late = append(w.late, delayed{call{script: "cancel", session: c.id, proxy: c.proxy.ID}, func() {
			_, err := w.p.Cancel(ctx, c.id, c.proxy.ID, "cancelled")
			require.NoError(w.t, err)
		}})
		return
	}
	if s := w.last.hash["session:"+c.id]["state"]; s != "ended" && s != "rejected" {
		w.t.Fatalf("session %s is %q after its cancel", c.id, s)
	}
}

func (w *world) killProxy(t *rapid.T, p *process) {
	p.dead = true
	for _, c := range w.clients {
		if c.proxy == p && c.phase != "closed" {
			if c.phase == "running" {
				w.hangUp(t, c.id, "client_closed")
			}
			c.phase = "closed"
		}
	}
}

// workers

func (w *world) newWorker(t *rapid.T) {
	p := &process{Worker: worker(w.id("w"), rapid.IntRange(1, 3).Draw(t, "slots")), serving: map[string]connection{}, untold: map[string]connection{}, number: 1}
	p.Lifetime = rapid.SampledFrom([]int{0, 0, 2, 5}).Draw(t, "lifetime")
	switch rapid.IntRange(0, 3).Draw(t, "flavour") {
	case 1:
		p.Playwright = "1.64.0"
	case 2:
		p.Browser, p.Playwright = "firefox", "1.62.0"
	case 3:
		p.Labels = map[string]string{"gpu": "1"}
	}
	if n := len(w.workers); n > 0 && chance(t, "at an old endpoint", 40) {
		// Mostly that of a process that has gone.
		if old := w.workers[rapid.IntRange(0, n-1).Draw(t, "endpoint")]; old.dead || chance(t, "misconfigured", 10) {
			p.Endpoint = old.Endpoint
		}
	}
	p.sick = chance(t, "sick", 10)
	w.workers = append(w.workers, p)
	w.join(t, p, false)
}

func (p *process) health() state.WorkerState {
	switch {
	case p.retiring:
		return state.Retiring
	case p.sick:
		return state.Unhealthy
	}
	return state.Ready
}

func (w *world) join(t *rapid.T, p *process, again bool) {
	r := state.JoinRequest{Worker: p.Worker, State: p.health(), Number: p.number, Served: p.started, Rejoin: again}
	c := call{script: "join", worker: p.ID, endpoint: p.Endpoint, flavour: p.Flavour(), number: p.number, state: r.State, serving: map[string]bool{},
		served: p.started, slots: p.Slots, lifetime: p.Lifetime, ends: p.ends}
	for _, id := range sorted(p.serving) {
		c.serving[id] = true
		r.Sessions = append(r.Sessions, p.serving[id].told(id))
	}
	for _, e := range p.ends {
		c.serving[e.Session] = true
		r.Untold = append(r.Untold, state.Untold{Serving: p.untold[e.Session].told(e.Session), How: e})
	}
	var reply state.JoinReply
	f := func() {
		var err error
		reply, err = w.p.Join(ctx, r)
		require.NoError(w.t, err)
		switch {
		case reply.Replaced != "":
			w.saw("join", "replaced")
		case reply.Stale:
			w.saw("join", "stale")
		case reply.FlavourLimit > 0:
			w.saw("join", "flavours")
		default:
			w.saw("join", "ok", some(len(r.Sessions), "brings sessions"), some(len(r.Untold), "tells ends"), some(len(reply.Ended), "of which some have ended"))
		}
	}
	p.joined = delayed{c, f}
	if !w.send(t, c, f) {
		return
	}
	switch {
	case reply.Replaced != "":
		w.killWorker(p)
	case reply.Stale:
		p.number++
	case reply.FlavourLimit > 0:
		require.Len(w.t, w.last.hash["flavours"], w.p.Options().MaxFlavours)
		w.killWorker(p)
	default:
		for _, e := range r.Untold {
			if s := w.last.hash["session:"+e.Session]; s["state"] == "active" && s["worker"] == p.ID {
				w.t.Fatalf("session %s goes on although %s has told that it ended", e.Session, p.ID)
			}
		}
		p.reported(len(r.Untold))
		w.dropEnded(p, reply.Ended)
		w.lists(p, c)
	}
}

// reported drops the first ends.
func (p *process) reported(n int) {
	for _, e := range p.ends[:n] {
		delete(p.untold, e.Session)
	}
	p.ends = p.ends[n:]
}

// lost takes a connection away and keeps its end to be reported.
func (p *process) lost(id, reason string) {
	p.untold[id] = p.serving[id]
	p.ends = append(p.ends, state.End{Session: id, Reason: reason, Counts: state.Counts{BytesUp: 1}})
}

func (c connection) told(id string) state.Serving {
	return state.Serving{Session: id, Proxy: c.proxy, Attempt: c.attempt, Nonce: c.nonce, Token: c.token, Age: c.age}
}

func (w *world) dropEnded(p *process, ended []string) {
	for _, id := range ended {
		if s := w.last.hash["session:"+id]; s["state"] == "active" && s["worker"] == p.ID {
			w.t.Fatalf("%s is to close session %s, which has not ended", p.ID, id)
		}
		delete(p.serving, id)
		w.closed(id)
	}
}

// lists checks that Redis has for a worker what it has told.
func (w *world) lists(p *process, c call) {
	for _, id := range w.last.under("session:") {
		s := w.last.hash["session:"+id]
		if s["state"] == "active" && s["worker"] == p.ID && !c.serving[id] && int64(atoi(s["beat"])) < c.number {
			w.t.Fatalf("session %s goes on although %s has told that it does not have it (I3)", id, p.ID)
		}
	}
	for id := range p.serving {
		if s := w.last.hash["session:"+id]; s["state"] != "active" || s["worker"] != p.ID {
			w.t.Fatalf("%s serves session %s and was not told that it is %s at %q", p.ID, id, s["state"], s["worker"])
		}
	}
}

func (w *world) beat(t *rapid.T, p *process, missing string) {
	p.number++
	b := state.Beat{Worker: p.ID, Number: p.number, State: p.health(), Missing: missing, Serving: sorted(p.serving), Ended: p.ends}
	c := call{script: "heartbeat", worker: p.ID, number: p.number, state: b.State, serving: map[string]bool{}, ends: p.ends}
	for _, id := range b.Serving {
		c.serving[id] = true
	}
	var r state.BeatReply
	times := 0
	if !w.send(t, c, func() {
		var err error
		taken := times == 1 && !r.Join && !r.Stale
		r, err = w.p.Heartbeat(ctx, b)
		require.NoError(w.t, err)
		if taken && !r.Stale {
			w.t.Fatalf("heartbeat %d of %s was taken twice", b.Number, p.ID)
		}
		switch {
		case r.Join:
			w.saw("heartbeat", "join")
		case r.Stale:
			w.saw("heartbeat", "stale")
		default:
			w.saw("heartbeat", "ok", string(r.State), some(len(r.Ended), "some have ended"))
		}
		times++
	}) {
		return
	}
	switch {
	case r.Join:
		w.join(t, p, true)
	case r.Stale:
		if times == 1 && r.Last < p.number {
			w.t.Fatalf("heartbeat %d of %s is stale after %d", p.number, p.ID, r.Last)
		}
		p.number = max(p.number, r.Last)
	default:
		p.reported(len(c.ends))
		w.dropEnded(p, r.Ended)
		w.lists(p, c)
		require.Equal(w.t, w.last.hash["worker:"+p.ID]["state"], string(r.State))
		if b.State == state.Ready && r.State == state.Suspect {
			w.t.Fatalf("%s is suspect after its heartbeat", p.ID)
		}
	}
}

// hangUp ends the connection of a client to its worker, which reports it, now or
// with its heartbeat, or forgets to.
func (w *world) hangUp(t *rapid.T, id, reason string) {
	for _, p := range w.workers {
		if _, has := p.serving[id]; !has || p.dead {
			continue
		}
		end := state.End{Session: id, Reason: reason, Counts: state.Counts{BytesUp: 1}}
		report := rapid.IntRange(0, 5).Draw(t, "report")
		if report == 0 {
			p.lost(id, reason)
		}
		delete(p.serving, id)
		switch report {
		case 0, 1:
		default:
			answered := w.send(t, call{script: "finish", worker: p.ID, ends: []state.End{end}}, func() {
				was := w.last.hash["session:"+id]["state"]
				require.NoError(w.t, w.p.Finish(ctx, state.SideWorker, p.ID, end))
				w.saw("finish", "of one that was", was)
			})
			if s := w.last.hash["session:"+id]; answered && s["state"] == "active" && s["worker"] == p.ID {
				w.t.Fatalf("session %s goes on after its end", id)
			}
		}
	}
}

func (w *world) closed(id string) {
	for _, c := range w.clients {
		if c.id == id && c.phase == "running" {
			c.phase = "closed"
			c.proxy.ends = append(c.proxy.ends, state.End{Session: id, Reason: "worker_closed"})
		}
	}
}

func (w *world) killWorker(p *process) {
	p.dead = true
	if p.joined.run != nil {
		// What it has sent may still arrive when it is gone.
		w.late = append(w.late, p.joined)
	}
	for _, id := range sorted(p.serving) {
		w.closed(id)
	}
	p.serving = map[string]connection{}
}

func (w *world) crash(t *rapid.T, p *process) {
	p.sick = true
	for _, id := range sorted(p.serving) {
		w.closed(id)
		if chance(t, "counted", 50) {
			p.lost(id, "browser_crashed")
		}
	}
	p.serving = map[string]connection{}
	w.beat(t, p, "browser_crashed")
}

func (w *world) retire(t *rapid.T, p *process, reason string) {
	var r state.RetireReply
	number := p.number
	if w.send(t, call{script: "retire", worker: p.ID, number: number, reason: reason}, func() {
		var err error
		r, err = w.p.Retire(ctx, p.ID, reason, number)
		require.NoError(w.t, err)
		w.saw("retire", map[bool]string{true: "retiring"}[r.Retiring], map[bool]string{true: "unknown"}[r.Unknown], some(r.Lifetime, "later"))
	}) {
		p.retiring = p.retiring || r.Retiring
		if r.Lifetime > 0 {
			p.Lifetime = r.Lifetime
		}
		if r.Retiring {
			require.Equal(w.t, len(w.last.set["held:"+p.ID]), r.Held)
		}
	}
}

func (w *world) quit(t *rapid.T, p *process, reason string, force bool) {
	ends := p.ends
	if force {
		for _, id := range sorted(p.serving) {
			w.closed(id)
		}
		p.serving = map[string]connection{}
	}
	held, number := 0, p.number
	answered := w.send(t, call{script: "leave", worker: p.ID, number: number, force: force, ends: ends}, func() {
		var err error
		held, err = w.p.Leave(ctx, p.ID, reason, number, force, ends...)
		require.NoError(w.t, err)
		w.saw("leave", map[bool]string{true: "by force"}[force], map[bool]string{true: "held", false: "left"}[held > 0])
	})
	if force {
		p.dead = true
		return
	}
	if answered {
		require.Equal(w.t, held > 0, len(w.last.set["held:"+p.ID]) > 0)
		if held == 0 {
			w.killWorker(p)
		}
	}
}

// the reaper

func (w *world) reap(batch int) (again bool) {
	w.run(call{script: "reap"}, func() {
		ended, next, err := w.p.Reap(ctx, batch)
		require.NoError(w.t, err)
		w.saw("reap", some(ended, "ended some"), map[bool]string{true: "more is due"}[next == 0])
		again = next == 0
	})
	if again {
		return true
	}
	if owing := w.last.set["owing"]; len(owing) > 0 {
		w.t.Fatalf("the reaper is done and has left %v with slots that they owe (I4)", owing)
	}
	after := viewOf(w.last, nil)
	for id, worker := range after.workers {
		if !worker.leased {
			w.t.Fatalf("the reaper is done and has left worker %s", id)
		}
	}
	for id, s := range after.sessions {
		if s.state == "assigned" && !s.leased || s.state != "active" && !after.proxies[s.proxy] {
			w.t.Fatalf("the reaper is done and has left session %s: %+v", id, s)
		}
	}
	return false
}

// expire lets a deadline pass.
func (w *world) expire(t *rapid.T, zset string) {
	member := pick(t, zset, sorted(w.last.zset[zset]), func(string) bool { return true })
	w.p.expire(w.p.k.Prefix()+zset, member)
	w.refresh()
}

// backup is what a replica has that misses the last writes.
type backup struct {
	keys   [][3]string // name, time to live, value
	parked map[string]bool
}

func (w *world) replicate() {
	b := &backup{parked: maps.Clone(w.p.parked)}
	for _, name := range sorted(w.last.ttl) {
		key := w.p.k.Prefix() + name
		value, err := w.p.do("DUMP", key).ToString()
		require.NoError(w.t, err)
		b.keys = append(b.keys, [3]string{key, fmt.Sprint(max(0, w.last.ttl[name])), value})
	}
	w.backup = b
}

// failover makes the replica the master. It has run none of the functions since
// it was given the data, and them.
func (w *world) failover() {
	w.p.wipe()
	_ = w.p.do("FUNCTION", "DELETE", w.p.Library()) // there may have been no call yet
	for _, k := range w.backup.keys {
		require.NoError(w.t, w.p.do("RESTORE", k[0], k[1], k[2]).Error())
	}
	w.p.fold = event.State{}
	w.p.log, w.p.told, w.p.parked = nil, map[string]int{}, maps.Clone(w.backup.parked)
	w.p.read()
	w.refresh()
	for _, p := range w.workers {
		w.p.over[p.ID] = true
	}
	w.lossy, w.backup = true, nil
}

func (w *world) flush() {
	w.p.wipe()
	w.refresh()
	w.lossy, w.backup = true, nil
	clear(w.p.parked)
}
