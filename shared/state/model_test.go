package state_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// oldEpoch is that of a pool to which all workers have long come back.
const oldEpoch = "1-0"

// maxClasses is so low that the model reaches it.
const maxClasses = 4

// TestModel plays random histories of proxies, workers and clients against a real
// Redis: lost replies and repeated calls, calls that arrive late, processes that
// die, leases that run out, a Redis that loses everything or the last of it. Each
// single call must do what the rules allow and leave the pool consistent
// (I1, I4, I5, I6); at the end all goes home, and nothing may be left (I2, I3).
//
// Half of the histories are the same every time, the others are new ones. With
// PWDIST_MODEL_STEPS, which is how long they are, or a seed, from
// PWDIST_MODEL_SEED or -rapid.seed, all are of that seed, or new without one.
// -rapid.checks is how many.
func TestModel(t *testing.T) {
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	seen := map[string]int{}
	steps, seed, checks := os.Getenv("PWDIST_MODEL_STEPS"), modelSeed(t), modelChecks(t)
	if steps == "" && seed == 0 {
		half := checks / 2
		t.Run("known histories", func(t *testing.T) { playModel(t, 65, "100", half, seen) })
		t.Run("new histories", func(t *testing.T) { playModel(t, freshSeed(), "100", checks-half, seen) })
	} else {
		playModel(t, cmp.Or(seed, freshSeed()), cmp.Or(steps, "100"), checks, seen)
	}
	for _, outcome := range sorted(seen) {
		t.Logf("%7d %s", seen[outcome], outcome)
	}
}

// modelSeed is the seed that was asked for, or 0.
func modelSeed(t *testing.T) uint64 {
	t.Helper()
	text := cmp.Or(os.Getenv("PWDIST_MODEL_SEED"), flag.Lookup("rapid.seed").Value.String())
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, "PWDIST_MODEL_SEED")
	return seed
}

func modelChecks(t *testing.T) int {
	t.Helper()
	checks, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	require.NoError(t, err)
	return checks
}

// freshSeed is short, for somebody may have to type it.
func freshSeed() uint64 { return 1 + rand.Uint64N(1_000_000_000) }

// playModel plays so many histories of about so many steps, and counts in seen
// what came of the calls. Rapid knows its settings as flags only; they are put
// back, since other tests read them.
func playModel(t *testing.T, seed uint64, steps string, checks int, seen map[string]int) {
	t.Helper()
	for name, value := range map[string]string{
		"rapid.seed": strconv.FormatUint(seed, 10), "rapid.steps": steps, "rapid.checks": strconv.Itoa(checks),
	} {
		before := flag.Lookup(name).Value.String()
		require.NoError(t, flag.Set(name, value))
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
	t.Logf("seed %d: make model SEED=%d STEPS=%s plays this again; if a history fails, the seed that is told there plays it alone", seed, seed, steps)
	o := options(func(o *state.Options) {
		// Deadlines pass when the test says so.
		o.Heartbeat, o.ProcessLease, o.StartLease = 10*time.Minute, time.Hour, time.Hour
		o.MaxClasses, o.MaxFlavours, o.MaxSkipped = maxClasses, 3, 1
	})
	rapid.Check(t, func(t *rapid.T) {
		p := openPool(t, conn, o)
		defer p.wipe()
		w := newWorld(t, p)
		w.seen = seen
		w.newProxy()
		w.newWorker(t)
		w.newWorker(t)
		if rapid.Bool().Draw(t, "an old pool") {
			p.head("epoch", oldEpoch)
			w.refresh()
		}
		t.Repeat(w.actions())
		w.goHome(t)
	})
}

func (w *world) actions() map[string]func(*rapid.T) {
	in := func(phases ...string) func(*client) bool {
		return func(c *client) bool {
			for _, p := range phases {
				if c.phase == p && !c.proxy.dead {
					return true
				}
			}
			return false
		}
	}
	seldom := func(t *rapid.T, percent int) {
		if !chance(t, "does it happen", percent) {
			t.Skip("not now")
		}
	}
	actions := map[string]func(*rapid.T){
		"a client comes": func(t *rapid.T) {
			p := pick(t, "proxy", w.proxies, alive)
			id := w.id("s")
			c := &client{id: id, proxy: p, phase: "asking"}
			c.request = state.Request{Session: id, Proxy: p.ID, QueueLimit: rapid.SampledFrom([]int{3, 100}).Draw(t, "limit"),
				Demand: rapid.SampledFrom([]state.Demand{chromium(""), chromium(""), chromium("1.65"), chromium("1.65"), chromium("1.65"), chromium("1.64"),
					{Browser: "firefox"}, {Browser: "chromium", Require: map[string]string{"gpu": "1"}}, chromium("1.1")}).Draw(t, "demand")}
			has := rapid.SampledFrom([]token{{}, {}, {"one", 1, 0}, {"three", 3, 1}, {"three", 3, 1}, {"free", 0, 2}}).Draw(t, "token")
			c.request.Token, c.request.TokenSessions, c.request.TokenQueue = has.name, has.sessions, has.waiting
			w.clients = append(w.clients, c)
			w.acquire(t, c, false)
		},
		"a client is dialled": func(t *rapid.T) { w.dial(t, pick(t, "client", w.clients, in("granted"))) },
		"a client leaves": func(t *rapid.T) {
			w.leave(t, pick(t, "client", w.clients, in("asking", "waiting", "granted", "running")))
		},
		"a session ends": func(t *rapid.T) { w.leave(t, pick(t, "client", w.clients, in("running"))) },
		"acquire is repeated": func(t *rapid.T) {
			w.acquire(t, pick(t, "client", w.clients, in("asking", "waiting", "granted")), false)
		},
		"a stranger tries a session": func(t *rapid.T) {
			c := pick(t, "client", w.clients, func(*client) bool { return true })
			p := pick(t, "worker", w.workers, func(*process) bool { return true })
			if s := w.last.hash["session:"+c.id]; s["state"] == "assigned" && s["worker"] == p.ID {
				t.Skip("it would be the right one")
			}
			w.run(call{script: "start", session: c.id, worker: p.ID, attempt: 1}, func() {
				a, err := w.p.Start(ctx, c.id, p.ID, 1, "stranger", p.number)
				require.NoError(w.t, err)
				require.NotEqual(w.t, state.StartOK, a, "a second way in (I10)")
				w.saw("start", string(a))
			})
		},
		"a stranger reports an end": func(t *rapid.T) {
			c := pick(t, "client", w.clients, func(*client) bool { return true })
			p := pick(t, "worker", w.workers, func(p *process) bool { return w.last.hash["session:"+c.id]["worker"] != p.ID })
			end := state.End{Session: c.id, Reason: "client_closed"}
			w.run(call{script: "finish", worker: p.ID, ends: []state.End{end}}, func() {
				require.NoError(w.t, w.p.Finish(ctx, state.SideWorker, p.ID, end))
				w.saw("finish", "by a stranger")
			})
		},
		"inbox":                func(t *rapid.T) { w.inbox(pick(t, "proxy", w.proxies, alive)) },
		"proxy beat":           func(t *rapid.T) { w.proxyBeat(t, pick(t, "proxy", w.proxies, alive)) },
		"worker beat":          func(t *rapid.T) { w.beat(t, pick(t, "worker", w.workers, alive), "worker_closed") },
		"a worker joins again": func(t *rapid.T) { w.join(t, pick(t, "worker", w.workers, alive), true) },
		"another release calls": func(t *rapid.T) {
			seldom(t, 30)
			w.fence(t)
		},
		"a new worker": func(t *rapid.T) {
			n := 0
			for _, p := range w.workers {
				if alive(p) {
					n++
				}
			}
			if n >= 5 {
				t.Skip("enough")
			}
			w.newWorker(t)
		},
		"a new proxy": func(t *rapid.T) {
			n := 0
			for _, p := range w.proxies {
				if alive(p) {
					n++
				}
			}
			if n >= 3 {
				t.Skip("enough")
			}
			w.newProxy()
		},
		"a browser crashes": func(t *rapid.T) {
			seldom(t, 30)
			w.crash(t, pick(t, "worker", w.workers, func(p *process) bool { return alive(p) && !p.sick }))
		},
		"a browser is back": func(t *rapid.T) {
			p := pick(t, "worker", w.workers, func(p *process) bool { return alive(p) && p.sick })
			p.sick = false
			w.beat(t, p, "worker_closed")
		},
		"a worker retires": func(t *rapid.T) {
			seldom(t, 40)
			p := pick(t, "worker", w.workers, func(p *process) bool { return alive(p) && !p.retiring })
			w.retire(t, p, rapid.SampledFrom([]string{state.RetireLifetime, state.RetireDrain, state.RetireMemory}).Draw(t, "reason"))
		},
		"a worker leaves": func(t *rapid.T) {
			p := pick(t, "worker", w.workers, func(p *process) bool { return alive(p) && p.retiring })
			w.quit(t, p, state.RetireLifetime, chance(t, "force", 20))
		},
		"a worker dies": func(t *rapid.T) {
			seldom(t, 25)
			w.killWorker(pick(t, "worker", w.workers, alive))
		},
		"a proxy dies": func(t *rapid.T) {
			seldom(t, 25)
			w.killProxy(t, pick(t, "proxy", w.proxies, alive))
		},
		"a late call arrives": func(t *rapid.T) {
			if len(w.late) == 0 {
				t.Skip("none")
			}
			i := rapid.IntRange(0, len(w.late)-1).Draw(t, "which")
			l := w.late[i]
			w.late = append(w.late[:i:i], w.late[i+1:]...)
			w.run(l.call, l.run)
		},
		"reap": func(t *rapid.T) { w.reap(rapid.IntRange(1, 6).Draw(t, "batch")) },
		"a lease runs out": func(t *rapid.T) {
			w.expire(t, rapid.SampledFrom([]string{"workers", "proxies", "leases", "leases", "fading"}).Draw(t, "of"))
			if chance(t, "the reaper is there", 60) {
				w.reap(rapid.IntRange(1, 6).Draw(t, "batch"))
			}
		},
		"time stands still": func(t *rapid.T) {
			seldom(t, 30)
			w.p.lastSeen(rapid.SampledFrom([]time.Duration{time.Hour, -time.Hour}).Draw(t, "gap"))
			// What was leased until now is in the last dump, by the clock as it was.
			w.proxyBeat(t, pick(t, "proxy", w.proxies, alive))
		},
		"a replica is up to date": func(t *rapid.T) {
			seldom(t, 60)
			w.replicate()
		},
		"a failover": func(t *rapid.T) {
			if w.backup == nil {
				t.Skip("no replica")
			}
			w.failover()
			w.everyoneSpeaks(t)
		},
		"redis is empty": func(t *rapid.T) {
			seldom(t, 10)
			w.flush()
			w.everyoneSpeaks(t)
		},
	}
	for often, times := range map[string]int{"a client comes": 4, "a client is dialled": 5, "inbox": 2, "a session ends": 2, "worker beat": 3,
		"a lease runs out": 3, "a new worker": 3, "a new proxy": 2, "a worker retires": 2, "a worker leaves": 1, "a failover": 2, "a replica is up to date": 1} {
		for i := range times {
			actions[fmt.Sprint(often, " ", i)] = actions[often]
		}
	}
	return actions
}

// fence lets the pool belong to another release for a moment: every script keeps
// out and changes nothing.
func (w *world) fence(t *rapid.T) {
	if w.last.text["schema"] == "" {
		t.Skip("an empty Redis")
	}
	p, s := w.p, "fenced"
	p.head("schema", "0")
	calls := map[string]func() error{
		"acquire":  func() error { _, err := p.Acquire(ctx, request(s)); return err },
		"reassign": func() error { _, err := p.Reassign(ctx, s, "w1", 1); return err },
		"start":    func() error { _, err := p.Start(ctx, s, "w1", 1, "n", 1); return err },
		"finish":   func() error { return p.Finish(ctx, state.SideWorker, "w1", state.End{Session: s}) },
		"cancel":   func() error { _, err := p.Cancel(ctx, s, "p1", "cancelled"); return err },
		"join": func() error {
			_, err := p.Join(ctx, state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 1e9})
			return err
		},
		"heartbeat": func() error {
			_, err := p.Heartbeat(ctx, state.Beat{Worker: "w1", Number: 1e9, State: state.Ready})
			return err
		},
		"retire":          func() error { _, err := p.Retire(ctx, "w1", state.RetireDrain, 1e9); return err },
		"leave":           func() error { _, err := p.Leave(ctx, "w1", state.RetireDrain, 1e9, true); return err },
		"reap":            func() error { _, _, err := p.Reap(ctx, 10); return err },
		"proxy_heartbeat": func() error { _, err := p.ProxyHeartbeat(ctx, "p1", ""); return err },
	}
	script := pick(t, "script", sorted(calls), func(string) bool { return true })
	require.ErrorIs(t, calls[script](), state.ErrSchema)
	w.saw(script, "another release")
	p.head("schema", state.Schema)
	before := w.last
	w.refresh()
	for _, d := range []*dump{&before, &w.last} {
		d.ttl = maps.Clone(d.ttl)
		for name := range d.ttl {
			if d.ttl[name] > 0 {
				d.ttl[name] = 1
			}
		}
	}
	require.Equal(t, before, w.last, "%s of another release changed something", script)
	w.refresh()
}

// everyoneSpeaks is what mostly follows when Redis was away.
func (w *world) everyoneSpeaks(t *rapid.T) {
	if chance(t, "not at once", 30) {
		return
	}
	for _, p := range w.workers {
		if !p.dead {
			w.beat(t, p, "worker_closed")
		}
	}
	for _, p := range w.proxies {
		if !p.dead {
			w.proxyBeat(t, p)
		}
	}
}

// goHome ends everything in good order and looks at what is left.
func (w *world) goHome(t *rapid.T) {
	for len(w.late) > 0 {
		l := w.late[0]
		w.late = w.late[1:]
		w.run(l.call, l.run)
	}
	for _, c := range w.clients {
		if c.proxy.dead || c.phase == "closed" {
			continue
		}
		was := c.phase
		c.phase = "closed"
		if was == "running" {
			for _, p := range w.workers {
				delete(p.serving, c.id)
			}
			continue
		}
		w.run(call{script: "cancel", session: c.id, proxy: c.proxy.ID}, func() {
			_, err := w.p.Cancel(ctx, c.id, c.proxy.ID, "cancelled")
			require.NoError(t, err)
		})
	}
	for range 2 {
		for _, p := range w.workers {
			if !p.dead {
				w.homeBeat(p)
			}
		}
		for _, p := range w.proxies {
			if !p.dead {
				w.run(call{script: "proxy_heartbeat", proxy: p.ID, ends: p.ends}, func() {
					_, err := w.p.ProxyHeartbeat(ctx, p.ID, p.heeded, p.ends...)
					require.NoError(t, err)
				})
				p.ends = nil
				w.p.inbox(p.ID)
			}
		}
		w.run(call{script: "cancel", session: "nobody", proxy: "p1"}, func() { _, _ = w.p.Cancel(ctx, "nobody", "p1", "cancelled") })
		w.expireAll("leases", func(string) bool { return true })
		w.expireAll("workers", func(id string) bool { return !w.lives(w.workers, id) })
		w.expireAll("proxies", func(id string) bool { return !w.lives(w.proxies, id) })
		w.reapAll()
	}
	live := viewOf(w.last, nil).sessions
	if !w.lossy && len(live) > 0 {
		t.Fatalf("everybody has gone, but these sessions are left (I3): %v", live)
	}

	// Now the processes go too, and with them what only a Redis that lost writes can leave.
	for _, p := range w.workers {
		if !p.dead {
			w.run(call{script: "leave", worker: p.ID, force: true}, func() {
				_, err := w.p.Leave(ctx, p.ID, state.RetireDrain, p.number+1, true)
				require.NoError(t, err)
			})
		}
	}
	for range 2 {
		for _, zset := range []string{"leases", "workers", "proxies", "fading"} {
			w.expireAll(zset, func(string) bool { return true })
		}
		w.reapAll()
	}
	w.nothingLeft(t)
}

func (w *world) lives(list []*process, id string) bool {
	for _, p := range list {
		if p.ID == id && !p.dead {
			return true
		}
	}
	return false
}

func (w *world) homeBeat(p *process) {
	for range 3 {
		p.number++
		c := call{script: "heartbeat", worker: p.ID, number: p.number, state: p.health(), ends: p.ends, serving: map[string]bool{}}
		var r state.BeatReply
		w.run(c, func() {
			var err error
			r, err = w.p.Heartbeat(ctx, state.Beat{Worker: p.ID, Number: p.number, State: p.health(), Missing: "worker_closed", Ended: p.ends})
			require.NoError(w.t, err)
		})
		if r.Join {
			w.run(call{script: "join", worker: p.ID, endpoint: p.Endpoint, flavour: p.Flavour(), number: p.number, state: p.health(),
				served: p.started, slots: p.Slots, lifetime: p.Lifetime, serving: map[string]bool{}}, func() {
				reply, err := w.p.Join(ctx, state.JoinRequest{Worker: p.Worker, State: p.health(), Number: p.number, Served: p.started, Rejoin: true})
				require.NoError(w.t, err)
				if reply.Replaced != "" || reply.FlavourLimit > 0 {
					// It stops, which the proxies of its clients see.
					p.dead = true
					for _, c := range w.clients {
						if s := w.last.hash["session:"+c.id]; s["state"] == "active" && s["worker"] == p.ID {
							c.proxy.ends = append(c.proxy.ends, state.End{Session: c.id, Reason: "worker_closed"})
						}
					}
				}
			})
			continue
		}
		if r.Stale {
			p.number = r.Last
			continue
		}
		return
	}
}

func (w *world) expireAll(zset string, which func(string) bool) {
	for _, id := range sorted(w.last.zset[zset]) {
		if which(id) {
			w.p.expire(w.p.k.Prefix()+zset, id)
		}
	}
	w.refresh()
}

func (w *world) reapAll() {
	for range 500 {
		if !w.reap(20) {
			return
		}
	}
	w.t.Fatalf("the reaper does not come to an end")
}

func (w *world) nothingLeft(t *rapid.T) {
	// What may stay: what names the data set, and what goes by itself.
	stay := map[string]bool{"schema": true, "head": true, "tick": true, "seq": true, "events": true, "changed": true,
		"ended": true, "recycling": true, "fits": true}
	for name, ttl := range w.last.ttl {
		if !stay[name] && ttl < 0 {
			t.Fatalf("%s is left: %v %v %v", name, w.last.hash[name], w.last.set[name], w.last.zset[name])
		}
	}
	had := map[string]bool{}
	for _, e := range w.p.log {
		if e.Type == event.SessionAssigned || e.Type == event.SessionStarted {
			had[e.Session.ID] = true
		}
	}
	for id := range had {
		if w.p.told[id] != 1 {
			t.Fatalf("session %s was assigned and has %d ends (I2)", id, w.p.told[id])
		}
	}
}
