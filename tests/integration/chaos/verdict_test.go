package chaos_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// The judge finds each kind of wrong in records that are sound but for it.
func TestTheJudgeFinds(t *testing.T) {
	zero := time.Now()
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	const home, server = "/w/1", "/w/1/pw.sock"
	first, second := target{"proxy", 0}, target{"–worker", 0}

	for name, c := range map[string]struct {
		change func(*judge)
		want   string // empty: nothing
	}{
		"nothing": {func(*judge) {}, ""},
		"a client without an answer": {func(j *judge) {
			j.records[1] = record{name: "b", asked: at(0), heard: at(900), outcome: noAnswer}
			j.events = j.events[:3]
		}, "I11"},
		"a connection that ends without an answer": {func(j *judge) {
			j.records = append(j.records, record{name: "c", asked: at(0), heard: at(10), outcome: unheard})
		}, "its proxy had not ended"},
		"the same when its proxy was killed": {func(j *judge) {
			j.records = append(j.records, record{name: "c", asked: at(0), heard: at(10), outcome: unheard})
			j.struck = []struck{{strike{target: first, fault: kill}, at(5), at(20)}}
		}, ""},
		"the same when its proxy was killed long before": {func(j *judge) {
			j.records = append(j.records, record{name: "c", asked: at(2000), heard: at(2010), outcome: unheard})
			j.struck = []struck{{strike{target: first, fault: kill}, at(5), at(20)}}
		}, "its proxy had not ended"},
		"a refusal that says nothing": {func(j *judge) {
			j.records = append(j.records, refusalOf("queue_full", ""))
		}, "does not explain itself"},
		"a refusal that something follows": {func(j *judge) {
			r := refusalOf("queue_full", "playwright-distributed: full [queue_full]")
			r.after = 1
			j.records = append(j.records, r)
		}, "follow the answer"},
		"a refusal for a fault that was not": {func(j *judge) {
			j.records = append(j.records, refusalOf("draining", "playwright-distributed: no [draining]"))
		}, "nothing was broken"},
		"a refusal for a fault of another part": {func(j *judge) {
			r := refusalOf("redis_unavailable", "playwright-distributed: no [redis_unavailable]")
			j.records = append(j.records, r)
			j.struck = []struck{{strike{target: second, fault: cut}, r.asked, r.heard.Add(time.Second)}}
		}, "nothing was broken"},
		"the same when it was its proxy's link to Redis": {func(j *judge) {
			r := refusalOf("redis_unavailable", "playwright-distributed: no [redis_unavailable]")
			j.records = append(j.records, r)
			j.struck = []struck{{strike{target: target{"proxy–redis", 0}, fault: cut}, r.asked.Add(-5 * time.Second), r.asked.Add(-4 * time.Second)}}
		}, ""},
		"a refusal long after the fault": {func(j *judge) {
			r := refusalOf("lost", "playwright-distributed: no [lost]")
			j.records = append(j.records, r)
			j.struck = []struck{{strike{target: first, fault: stop}, r.asked.Add(-20 * time.Second), r.asked.Add(-19 * time.Second)}}
		}, "nothing was broken"},
		"a wait that was cut short": {func(j *judge) {
			j.records = append(j.records, refusalOf("wait_timeout", "playwright-distributed: no [wait_timeout]"))
		}, "has not waited"},
		"other bytes than were sent": {func(j *judge) { j.records[0].ending = garbled }, "I8"},
		"a session that hangs":       {func(j *judge) { j.records[0].ending = hung }, "I8"},
		"a session that breaks":      {func(j *judge) { j.records[0].ending = broken }, "I7"},
		"a session that breaks while only Redis is down": {func(j *judge) {
			j.records[0].ending = broken
			j.struck = []struck{{strike{target: target{what: "redis"}, fault: redisKill}, at(0), at(900)}}
		}, "I7"},
		"a session that breaks while its worker stands still": {func(j *judge) {
			j.records[0].ending = broken
			j.struck = []struck{{strike{target: target{"worker", 0}, fault: stop}, at(0), at(900)}}
		}, "I7"},
		"a session that breaks with its link": {func(j *judge) {
			j.records[0].ending = broken
			j.struck = []struck{{strike{target: second, fault: cut}, at(50), at(900)}}
		}, ""},
		"two sessions on one slot": {func(j *judge) { j.records[1].first = at(150) }, "I1"},
		"one session for two":      {func(j *judge) { j.records[1].session = "s1" }, "was given to"},
		"two sessions for one": {func(j *judge) {
			j.events = append(j.events, session(event.SessionRejected, "s3", "a", "w"))
		}, "has the sessions"},
		"a session without an end": {func(j *judge) { j.events = j.events[:4] }, "I2"},
		"a session with two ends":  {func(j *judge) { j.events = append(j.events, j.events[4]) }, "I2"},
		"a session with two starts": {func(j *judge) {
			j.events = append(j.events, session(event.SessionStarted, "s1", "a", "w"))
		}, "I2"},
		"one server for two workers": {func(j *judge) { j.events[4] = session(event.SessionEnded, "s2", "b", "other") }, "I6"},
		"another count":              {func(j *judge) { j.records[0].sent = 8 }, "the client sent"},
		"another reason": {func(j *judge) {
			j.events[2].Session.Reason = event.ReasonWorkerLost
		}, "I6"},
		"a proxy that died before its worker could tell of an end": {func(j *judge) {
			j.events[2].Session.Reason = event.ReasonProxyLost
			j.struck = []struck{
				{strike{target: target{"worker–redis", 0}, fault: shutUp}, at(300), at(6000)},
				{strike{target: target{"proxy", 0}, fault: kill}, at(5000), at(5200)},
			}
		}, ""},
		"a proxy that died when its worker could have told of an end": {func(j *judge) {
			j.events[2].Session.Reason = event.ReasonProxyLost
			j.struck = []struck{
				{strike{target: target{"worker–redis", 0}, fault: shutUp}, at(300), at(400)},
				{strike{target: target{"proxy", 0}, fault: kill}, at(5000), at(5200)},
			}
		}, "I6"},
		"a session that ended well while its proxy left": {func(j *judge) {
			j.events[2].Session.Reason = event.ReasonProxyDrained
			j.struck = []struck{{strike{target: first, fault: terminate}, at(150), at(400)}}
		}, ""},
		"a session that ended well when its proxy had long left": {func(j *judge) {
			j.records[0].ended = at(2000)
			j.events[2].Session.Reason = event.ReasonProxyDrained
			j.struck = []struck{{strike{target: first, fault: terminate}, at(150), at(400)}}
		}, "I6"},
		"a client that is overtaken": {func(j *judge) {
			j.events = append(j.events, place(at(500), event.SessionQueued, "s4", 4), place(at(600), event.SessionAssigned, "s5", 5))
		}, "s5 got a slot while s4"},
		"a client that gets a slot in its turn": {func(j *judge) {
			j.events = append(j.events, place(at(500), event.SessionQueued, "s4", 4), place(at(500), event.SessionQueued, "s5", 5),
				place(at(600), event.SessionAssigned, "s4", 4), place(at(600), event.SessionAssigned, "s5", 5))
		}, ""},
		"a client that sleeps beside a free slot": {func(j *judge) {
			j.events = append(j.events,
				event.Event{ID: "w", Type: event.WorkerJoined, At: at(400), Worker: &event.Worker{ID: "w", Browser: standInBrowser, Slots: 1}},
				place(at(500), event.SessionQueued, "s4", 4), place(at(900), event.SessionAssigned, "s4", 4))
		}, "waited beside a free slot"},
		"a client that waits beside a worker whose lease is over": {func(j *judge) {
			w := event.Worker{ID: "w", Browser: standInBrowser, Slots: 1}
			j.events = append(j.events,
				event.Event{ID: "w", Type: event.WorkerJoined, At: at(400), Worker: &w},
				place(at(500), event.SessionQueued, "s4", 4), place(at(900), event.SessionQueued, "s5", 5),
				event.Event{ID: "w lost", Type: event.WorkerLost, At: at(1000), Worker: &w})
		}, ""},
		"a client that waits beside a worker that is lost later": {func(j *judge) {
			w := event.Worker{ID: "w", Browser: standInBrowser, Slots: 1}
			j.events = append(j.events,
				event.Event{ID: "w", Type: event.WorkerJoined, At: at(400), Worker: &w},
				place(at(500), event.SessionQueued, "s4", 4), place(at(900), event.SessionQueued, "s5", 5),
				event.Event{ID: "w suspect", Type: event.WorkerSuspect, At: at(1000), Worker: &w},
				event.Event{ID: "w lost", Type: event.WorkerLost, At: at(1100), Worker: &w})
		}, "waited beside a free slot"},
		"what was before Redis came back empty": {func(j *judge) {
			j.events = []event.Event{{Type: event.PoolReset, At: at(1000)}}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judge{
				size: size{proxies: 1, workers: 1, slots: 1}, homes: map[string]int{home: 0},
				records: []record{
					{name: "a", asked: at(10), heard: at(50), outcome: granted, session: "s1", home: home, server: server,
						first: at(100), last: at(200), ending: goodbye, ended: at(210), sent: 7},
					{name: "b", asked: at(10), heard: at(250), outcome: granted, session: "s2", home: home, server: server,
						first: at(300), last: at(400), ending: goodbye, ended: at(410), sent: 7},
				},
				events: []event.Event{
					{Type: event.PoolReset, At: at(0)},
					session(event.SessionStarted, "s1", "a", "w"), session(event.SessionEnded, "s1", "a", "w"),
					session(event.SessionStarted, "s2", "b", "w"), session(event.SessionEnded, "s2", "b", "w"),
				},
			}
			c.change(j)
			got := strings.Join(j.verdict(), "\n")
			if c.want == "" {
				require.Empty(t, got)
			} else {
				require.Contains(t, got, c.want)
			}
		})
	}
}

func session(kind event.Type, id, name, worker string) event.Event {
	return event.Event{ID: id + string(kind), Type: kind, Session: &event.Session{
		ID: id, Name: name, Worker: worker, Reason: event.ReasonClientClosed, MessagesUp: 7,
	}}
}

// place is an event of a session that waits or has a slot.
func place(at time.Time, kind event.Type, id string, seq int64) event.Event {
	return event.Event{ID: id + string(kind), Type: kind, At: at, Session: &event.Session{ID: id, Browser: standInBrowser, Seq: seq, Worker: "w"}}
}

func refusalOf(code, text string) record {
	return record{
		name: "c", asked: time.Now(), heard: time.Now(), outcome: refused, answer: http.StatusServiceUnavailable, body: text,
		header: http.Header{"X-Pwdist-Refusal": {code}, "Retry-After": {"1"}},
	}
}
