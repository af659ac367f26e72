package chaos_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// judge holds the clients' records against the invariants.
type judge struct {
	size    size
	homes   map[string]int
	struck  []struck
	records []record
	events  []event.Event // what Redis has at the end

	problems []string
}

func (j *judge) reportf(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// verdict lists what contradicts the invariants.
func (j *judge) verdict() []string {
	for _, r := range j.records {
		j.answered(r)
		switch r.outcome {
		case refused:
			j.refusal(r)
		case granted:
			j.session(r)
		}
	}
	j.slots()
	j.names()
	j.told()
	j.waiting()
	return j.problems
}

// answered: nobody is left without an answer, unless the proxy has died (I11).
func (j *judge) answered(r record) {
	switch r.outcome {
	case noAnswer:
		j.reportf("I11: %s", r)
	case unheard:
		if !j.struckIn(r.asked, r.heard, deadly, target{"proxy", r.proxy}) {
			j.reportf("I11: %s, and its proxy had not ended", r)
		}
	}
}

// mayRefuse tells whether a client may be refused so: because the pool is full, or
// because something was broken while it asked, or less than a lease before. What a
// refusal says of one part needs a fault of just that one.
func (j *judge) mayRefuse(r record, code string) bool {
	from, proxy := r.asked.Add(-aftermath), target{"proxy", r.proxy}
	switch code {
	case "queue_full", "wait_timeout":
		return true
	case "draining":
		return j.struckIn(from, r.heard, []fault{terminate}, proxy)
	case "redis_unavailable":
		return j.struckIn(from, r.heard, nil, target{what: "redis"}, target{"proxy–redis", r.proxy}, proxy)
	}
	return j.struckIn(from, r.heard, nil)
}

// aftermath is how long a fault that is over may show: a lease, in which
// something that had gone is still counted on.
const aftermath = 8 * time.Second

// refusal: it says why, in a form that clients understand, and that it is worth
// to try again, since nobody has asked for what cannot be.
func (j *judge) refusal(r record) {
	code := r.header.Get("x-pwdist-refusal")
	problem := ""
	switch after, err := strconv.Atoi(r.header.Get("Retry-After")); {
	case r.detail != "":
		problem = r.detail
	case r.after > 0:
		problem = fmt.Sprintf("%d bytes follow the answer", r.after)
	case r.answer != http.StatusTooManyRequests && r.answer != http.StatusBadGateway && r.answer != http.StatusServiceUnavailable:
		problem = "it is told not to try again"
	case err != nil || after < 1:
		problem = "no Retry-After"
	case code == "" || !strings.HasPrefix(r.body, "playwright-distributed: ") || !strings.HasSuffix(r.body, "["+code+"]"):
		problem = "the text does not explain itself"
	case code == "wait_timeout" && r.heard.Sub(r.asked) < queueWait:
		problem = "it has not waited for so long"
	case !j.mayRefuse(r, code):
		problem = "nothing was broken that explains it"
	}
	if problem != "" {
		j.reportf("I11: %s: %s", r, problem)
	}
}

// session: bytes come back as they were sent, and only a fault of what carries
// the bytes ends a session that its client does not end (I7, I8).
func (j *judge) session(r record) {
	switch r.ending {
	case garbled, hung, begun:
		j.reportf("I8: %s", r)
	case closed, broken:
		if !j.mayEnd(r) {
			j.reportf("I7: %s, and nothing on its way was broken", r)
		}
	}
}

// mayEnd tells whether a fault struck the way of a session's bytes.
func (j *judge) mayEnd(r record) bool {
	proxy, worker := target{"proxy", r.proxy}, []target{}
	if n, ok := j.homes[r.home]; ok {
		worker = append(worker, target{"worker", n})
	} else {
		// It ended before its server had given its name.
		for n := range j.size.workers {
			worker = append(worker, target{"worker", n})
		}
	}
	if j.struckIn(r.asked, r.ended, deadly, append(worker, proxy)...) {
		return true
	}
	return slices.ContainsFunc(worker, func(w target) bool {
		return j.struckIn(r.asked, r.ended, tearing, target{"–worker", w.n}) || j.outOfSight(r, w, r.ended.Add(notice))
	})
}

// mayGoUntold tells whether the worker of a session with a good end may not
// have told of that: it died while it still had to, or something else could
// take the session for ended just before. That is also a proxy that leaves: it
// foretells the end of what runs, which goes on until that is written.
func (j *judge) mayGoUntold(r record) bool {
	n, late := j.homes[r.home], r.ended.Add(untold)
	return j.struckIn(r.ended, late, deadly, target{"worker", n}) || j.struckIn(r.ended, late, tearing, target{"–worker", n}) ||
		j.struckIn(r.ended, late, []fault{terminate}, target{"proxy", r.proxy}) ||
		j.outOfSight(r, target{"worker", n}, j.reachable(n, r.ended))
}

// reachable is when a worker can tell the pool what ends at a time, or shortly
// after that: when what keeps it from Redis is over.
func (j *judge) reachable(worker int, at time.Time) time.Time {
	at = at.Add(notice)
	for _, s := range slices.SortedFunc(slices.Values(j.struck), func(a, b struck) int { return a.from.Compare(b.from) }) {
		silent := s.what == "redis" || s.target == target{"worker–redis", worker} ||
			s.target == target{"worker", worker} && slices.Contains(silencing, s.fault)
		if over := s.till.Add(notice); silent && s.from.Before(at) && over.After(at) {
			at = over
		}
	}
	return at
}

// untold is for how long an end may wait to be told, while Redis is away and
// all are busy after that.
const untold = 15 * time.Second

// outOfSight tells whether both ends of a session may have been taken for gone
// until a time, because nobody heard of them for a lease.
func (j *judge) outOfSight(r record, worker target, till time.Time) bool {
	from, proxy := r.asked.Add(-aftermath), target{"proxy", r.proxy}
	return (j.struckIn(from, till, nil, proxy) || j.struckIn(from, till, nil, target{"proxy–redis", r.proxy})) &&
		(j.struckIn(from, till, silencing, worker) || j.struckIn(from, till, nil, target{"worker–redis", worker.n}))
}

// Kinds of faults by what they do to sessions and to clients.
var (
	deadly    = []fault{kill, terminate, killBrowser}
	silencing = []fault{stop}
	tearing   = []fault{cut, reset, blackHole, shutUp, shutDown}
)

// notice is how long a fault may be over before a program has noticed it.
const notice = time.Second

// struckIn tells whether one of the faults (nil: any) struck one of the targets
// (none: any) in a time.
func (j *judge) struckIn(from, till time.Time, by []fault, targets ...target) bool {
	return slices.ContainsFunc(j.struck, func(s struck) bool {
		return s.from.Before(till) && s.till.Add(notice).After(from) &&
			(by == nil || slices.Contains(by, s.fault)) && (targets == nil || slices.Contains(targets, s.target))
	})
}

// slots: no server ever had more sessions at once than its worker has slots,
// by what the clients know for certain (I1).
func (j *judge) slots() {
	type edge struct {
		at   time.Time
		step int
	}
	edges := map[string][]edge{}
	for _, r := range j.records {
		if r.server != "" {
			edges[r.server] = append(edges[r.server], edge{r.first, 1}, edge{r.last, -1})
		}
	}
	for server, list := range edges {
		slices.SortFunc(list, func(a, b edge) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step))
		})
		now := 0
		for _, e := range list {
			if now += e.step; now > j.size.slots {
				j.reportf("I1: at %s the server %s had %d sessions, its worker has %d slots", clock(e.at), server, now, j.size.slots)
				break
			}
		}
	}
}

// names: no session was given to two clients, and a client has one at most.
func (j *judge) names() {
	owner, sessions := map[string]string{}, map[string]string{}
	for _, r := range j.records {
		if r.session == "" {
			if r.outcome == granted {
				j.reportf("%s: the answer names no session", r)
			}
			continue
		}
		if other, ok := owner[r.session]; ok {
			j.reportf("session %s was given to %s and to %s", r.session, other, r.name)
		}
		owner[r.session], sessions[r.name] = r.name, r.session
	}
	for _, e := range j.events {
		if e.Session == nil || e.Session.Name == "" {
			continue // stock clients give none
		}
		id, name := e.Session.ID, e.Session.Name
		if other, ok := sessions[name]; ok && other != id {
			j.reportf("client %s has the sessions %s and %s", name, other, id)
		}
		sessions[name] = id
	}
}

// told: the log has exactly one start and one end of every session that a
// client was given since Redis lost its data for the last time, and its numbers
// are the client's (I2, I6).
func (j *judge) told() {
	since := j.events[0].At
	for _, e := range j.events {
		if e.Type == event.PoolReset {
			since = e.At
		}
	}
	type story struct {
		starts, ends int
		end          event.Event
	}
	stories := map[string]*story{}
	for _, e := range j.events {
		if e.Session == nil {
			continue
		}
		s := stories[e.Session.ID]
		if s == nil {
			s = &story{}
			stories[e.Session.ID] = s
		}
		switch e.Type {
		case event.SessionStarted:
			s.starts++
		case event.SessionEnded:
			s.ends++
			s.end = e
		}
	}
	workers := map[string]string{}
	for _, r := range j.records {
		// The log counts in milliseconds.
		if r.outcome != granted || !r.asked.After(since.Add(time.Millisecond)) {
			continue
		}
		s := stories[r.session]
		if s == nil || s.starts != 1 || s.ends != 1 {
			if s == nil {
				s = &story{}
			}
			j.reportf("I2: %s: the log has %d starts and %d ends of it", r, s.starts, s.ends)
			continue
		}
		worker := s.end.Session.Worker
		if before, ok := workers[r.server]; ok && r.server != "" && before != worker {
			j.reportf("I6: the server %s served sessions of the workers %s and %s", r.server, before, worker)
		}
		workers[r.server] = worker
		if r.ending != goodbye || j.mayGoUntold(r) {
			continue
		}
		if got := s.end.Session; got.Reason != event.ReasonClientClosed || got.MessagesUp != r.sent {
			j.reportf("I6: %s: the log says that it ended as %s after %d messages, the client sent %d",
				r, got.Reason, got.MessagesUp, r.sent)
		}
	}
}
