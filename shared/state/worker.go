package state

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WorkerState is what a worker is for placement.
type WorkerState string

// The states of a worker that is in the fleet.
const (
	Ready     WorkerState = "ready"     // gets sessions
	Suspect   WorkerState = "suspect"   // a dial failed; ready again with its next heartbeat
	Unhealthy WorkerState = "unhealthy" // its browser is down
	Retiring  WorkerState = "retiring"  // serves what it has and leaves
)

// Worker is what a worker announces of itself.
type Worker struct {
	ID             string // new at every boot
	Endpoint       string // host:port that proxies dial
	Browser        string
	BrowserVersion string
	Playwright     string // full version
	Isolation      []string
	Labels         map[string]string
	Slots          int
	Lifetime       int // sessions; 0 = off
}

// Flavour returns what placement looks at.
func (w Worker) Flavour() Flavour {
	return Flavour{Browser: w.Browser, Playwright: MajorMinor(w.Playwright), Isolation: w.Isolation, Labels: w.Labels}
}

// MajorMinor cuts a version to its first two numbers: clients and servers of
// Playwright understand each other when these are equal.
func MajorMinor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}

// Serving is an active session as its worker knows it.
type Serving struct {
	Session string
	Proxy   string
	Attempt int
	Age     time.Duration // since it started
	Name    string
	Labels  map[string]string
	Token   string
	Client  string
	Nonce   string
}

// FinalNumber is the number of a worker that has left: no other one is above
// it. It is the largest up to which Redis, whose numbers are floating-point,
// tells all whole numbers apart.
const FinalNumber int64 = 1<<53 - 1

// JoinRequest is a worker's full state.
type JoinRequest struct {
	Worker
	State    WorkerState
	Number   int64 // of its latest heartbeat; later ones must be higher
	Served   int   // sessions started so far
	Rejoin   bool  // it was in this pool before, under the same id
	Sessions []Serving
	Untold   []Untold
}

// Untold is a session that ended while the pool could not be told. Where the
// pool knows nothing of it, it starts and ends in the call.
type Untold struct {
	Serving

	How End
}

// JoinReply tells what join did.
type JoinReply struct {
	Meta
	// Replaced is the later boot that announced the same endpoint. The caller
	// must not go on.
	Replaced string
	// FlavourLimit is not 0 when the pool has as many flavours as it may.
	FlavourLimit int
	// Stale tells that a later heartbeat, or the worker's end, has overtaken the
	// call; nothing was done.
	Stale bool
	// Last is the number that a call must be above, when stale. FinalNumber
	// tells that the worker has left, and is not to come back.
	Last int64
	// Ended are sessions of the request that the log has ended; close them.
	Ended []string
}

// Join brings a worker into the fleet, or back into it after Redis lost it. The
// sessions of the worker that was at its endpoint before end first, in batches.
func (s *Store) Join(ctx context.Context, r JoinRequest) (JoinReply, error) {
	for {
		reply, more, err := s.join(ctx, r)
		if err != nil || !more {
			return reply, err
		}
	}
}

// join makes one call. With more, it has ended as many sessions as one call may
// and is to be made again.
func (s *Store) join(ctx context.Context, r JoinRequest) (reply JoinReply, more bool, err error) {
	flavour, facts := r.Flavour().encode()
	type serving struct {
		Session string `json:"session"`
		Proxy   string `json:"proxy"`
		Attempt int    `json:"attempt"`
		Age     int64  `json:"age"`
		Name    string `json:"name"`
		Labels  string `json:"labels"`
		Token   string `json:"token"`
		Client  string `json:"client"`
		Nonce   string `json:"nonce"`
		Over    string `json:"over,omitempty"`
	}
	list := make([]serving, 0, len(r.Untold)+len(r.Sessions))
	add := func(a Serving, over string) {
		list = append(list, serving{a.Session, a.Proxy, a.Attempt, a.Age.Milliseconds(), oneLine(a.Name), labels(a.Labels), oneLine(a.Token), oneLine(a.Client), a.Nonce, over})
	}
	// Those that started first come first: what a failover lost is the last of it, so
	// slots come free of what is known before they are taken by what is not.
	for _, u := range slices.SortedStableFunc(slices.Values(r.Untold), func(a, b Untold) int { return cmp.Compare(b.Age, a.Age) }) {
		add(u.Serving, s.ends([]End{u.How}))
	}
	for _, a := range r.Sessions {
		add(a, "")
	}
	sessions, _ := json.Marshal(list)
	sent := time.Now()
	m, got, err := s.run(ctx, "join",
		r.ID, r.Endpoint, flavour, facts, oneLine(r.Browser), oneLine(r.BrowserVersion), oneLine(r.Playwright), strings.Join(r.Isolation, ","), labels(r.Labels),
		itoa(r.Slots), itoa(r.Lifetime), string(r.State), i64(r.Number), itoa(r.Served), flag(r.Rejoin), string(sessions))
	reply.Meta = m
	switch got.at(0) {
	case "more":
		more = true
	case "replaced":
		reply.Replaced = got.at(1)
	case "flavours":
		reply.FlavourLimit = got.int(1)
	case "stale":
		reply.Stale, reply.Last = true, int64(got.int(1))
	case "ok":
		s.clock.heard(sent, got.at(1))
		reply.Ended = got.from(2)
	}
	return reply, more, err
}

// Beat is one numbered snapshot of a worker.
type Beat struct {
	Worker string
	Number int64 // one more than the last
	State  WorkerState
	// Missing is the reason that active sessions get which are not in Serving
	// and started before this number.
	Missing string
	Serving []string
	Ended   []End // what could not be reported before
}

// BeatReply tells a worker how the pool sees it.
type BeatReply struct {
	Meta
	Join  bool        // the pool does not know it, or not all of its sessions: join again
	Stale bool        // the number is not above the last one; nothing was done
	Last  int64       // when stale: the last number
	State WorkerState // the pool's view
	Ended []string    // sessions of the snapshot that the log has ended; close them
}

// Heartbeat renews a worker's lease and compares what it serves with the log.
func (s *Store) Heartbeat(ctx context.Context, b Beat) (BeatReply, error) {
	serving := b.Serving
	if serving == nil {
		serving = []string{}
	}
	list, _ := json.Marshal(serving)
	sent := time.Now()
	m, got, err := s.run(ctx, "heartbeat", b.Worker, i64(b.Number), string(b.State), b.Missing, string(list), s.ends(b.Ended))
	reply := BeatReply{Meta: m}
	switch got.at(0) {
	case "join":
		reply.Join = true
	case "stale":
		reply.Stale, reply.Last = true, int64(got.int(1))
	case "ok":
		reply.State, reply.Ended = WorkerState(got.at(1)), got.from(3)
		s.clock.heard(sent, got.at(2))
	}
	return reply, err
}

// RetireReply tells whether a worker may go.
type RetireReply struct {
	Meta
	Retiring bool
	Held     int // when retiring: sessions it still holds
	// Lifetime is the limit by now, 0 = off, of a worker that must serve on
	// because others are on their way out already.
	Lifetime int
	Unknown  bool
}

// The reasons for which a worker retires or leaves.
const (
	RetireLifetime = "lifetime"
	RetireDrain    = "drain"
	RetireMemory   = "memory"
)

// Retire takes a worker out of placement; what it serves goes on.
func (s *Store) Retire(ctx context.Context, worker, reason string, number int64) (RetireReply, error) {
	m, got, err := s.run(ctx, "retire", worker, reason, i64(number))
	reply := RetireReply{Meta: m}
	switch got.at(0) {
	case "retiring":
		reply.Retiring, reply.Held = true, got.int(1)
	case "later":
		reply.Lifetime = got.int(1)
	case "unknown":
		reply.Unknown = true
	}
	return reply, err
}

// Leave takes a worker out of the fleet. Without force it is refused while
// sessions hold slots; held is their number then, 0 when the worker has left.
func (s *Store) Leave(ctx context.Context, worker, reason string, number int64, force bool, ends ...End) (held int, err error) {
	_, got, err := s.run(ctx, "leave", worker, reason, i64(number), flag(force), s.ends(ends))
	if got.at(0) == "held" {
		held = got.int(1)
	}
	return held, err
}

func labels(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func itoa(n int) string  { return strconv.Itoa(n) }
func i64(n int64) string { return strconv.FormatInt(n, 10) }
