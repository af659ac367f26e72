package state

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// Grant is a slot of a worker for one session.
type Grant struct {
	Session        string
	Worker         string
	Endpoint       string // host:port of the worker's gate
	Attempt        int    // counts the assignments of the session from 1
	BrowserVersion string
	Playwright     string // full version of the worker's Playwright
}

// Phase is where a session is.
type Phase string

// The phases. Refused is not a phase of a session: the pool keeps no record.
const (
	Queued   Phase = "queued"
	Assigned Phase = "assigned"
	Active   Phase = "active"
	Ended    Phase = "ended"
	Rejected Phase = "rejected"
	Refused  Phase = "refused"
	Unknown  Phase = "unknown"
)

// Standing is what acquire and reassign answer.
type Standing struct {
	Meta
	Phase   Phase
	Grant   Grant  // when assigned or active
	Place   int    // when queued: place in its class, from 1
	Waiting int    // when queued: all waiting clients of the pool
	Placed  int    // when queued: how often it was assigned before
	Reason  string // when ended or rejected: the reason; when refused: no_match or too_many_classes
	Have    []Flavour
}

// Request asks for a slot.
type Request struct {
	Session string // made by the proxy; request id, ticket id and credential at the gate in one
	Proxy   string
	Demand  Demand
	Name    string
	Labels  map[string]string
	Token   string // name of the client's token, never the token
	// TokenSessions bounds the sessions of that token in the whole pool, waiting
	// ones included; TokenQueue bounds those that wait. 0 = no limit.
	TokenSessions int
	TokenQueue    int
	Client        string // client address
	// QueueLimit bounds how many clients of the whole pool may wait.
	QueueLimit int
	// Again marks a client that waited already when Redis lost its data.
	Again bool
}

// Reassign takes an assigned session away from a worker that could not be
// dialled, marks that worker suspect, and gives the session another worker or
// its old place in the queue. Phase Unknown means that Redis lost the session.
func (s *Store) Reassign(ctx context.Context, session, worker string, attempt int) (Standing, error) {
	m, got, err := s.run(ctx, "reassign",
		session, worker, itoa(attempt))
	return standing(session, m, got), err
}

func standing(session string, m Meta, r reply) Standing {
	st := Standing{Meta: m, Phase: Phase(r.at(0))}
	switch st.Phase {
	case Assigned, Active:
		st.Grant = Grant{Session: session, Worker: r.at(1), Endpoint: r.at(2), Attempt: r.int(3), BrowserVersion: r.at(4), Playwright: r.at(5)}
	case Queued:
		st.Place, st.Waiting, st.Placed = r.int(1), r.int(2), r.int(3)
	case Refused:
		st.Reason = r.at(1)
		for _, text := range r.from(2) {
			var f Flavour
			if json.Unmarshal([]byte(text), &f) == nil {
				st.Have = append(st.Have, f)
			}
		}
	default:
		st.Reason = r.at(1)
	}
	return st
}

// StartAnswer is what start says to a connection.
type StartAnswer string

// The answers. Only StartOK lets the connection through.
const (
	StartOK        StartAnswer = "ok"
	StartUnknown   StartAnswer = "unknown"
	StartQueued    StartAnswer = "queued"
	StartElsewhere StartAnswer = "elsewhere"
	StartUsed      StartAnswer = "used"
	StartOver      StartAnswer = "over"
)

// Start makes an assigned session active, once. The nonce is new for every
// connection and tells a retried call from a second connection; number is the
// worker's current heartbeat number.
func (s *Store) Start(ctx context.Context, session, worker string, attempt int, nonce string, number int64) (StartAnswer, error) {
	_, got, err := s.run(ctx, "start", session, worker, itoa(attempt), nonce, itoa(int(number)))
	return StartAnswer(got.at(0)), err
}

// Counts is what went through a session. Up is from client to browser.
type Counts struct {
	BytesUp      uint64
	BytesDown    uint64
	MessagesUp   uint64
	MessagesDown uint64
}

// End tells how an active session ended.
type End struct {
	Session string
	Reason  string
	Ago     time.Duration // how long ago it happened, when it is reported late
	Counts
}

// Side names who reports an end.
type Side string

// The two sides that see the connection of an active session.
const (
	SideWorker Side = "worker"
	SideProxy  Side = "proxy"
)

// Finish ends active sessions as one of their two sides saw it. Ended is
// final: what has ended already stays as it is, so reporting twice is harmless.
func (s *Store) Finish(ctx context.Context, by Side, who string, ends ...End) error {
	_, _, err := s.run(ctx, "finish", string(by), who, s.ends(ends))
	return err
}

// Cancel ends a session for its proxy, in whatever phase it is; the phase
// before is returned, Unknown when an acquire may still be on its way (it will
// find a tombstone), Ended when there was nothing left to do.
func (s *Store) Cancel(ctx context.Context, session, proxy, reason string) (Phase, error) {
	_, got, err := s.run(ctx, "cancel", session, proxy, reason)
	if got.at(0) == "over" {
		return Ended, err
	}
	return Phase(got.at(0)), err
}

// ends are sessions' ends as the scripts read them: eight lines for each.
func (s *Store) ends(ends []End) string {
	if len(ends) == 0 {
		return ""
	}
	sent := "" // ms by the clock of Redis, where it is known
	if at := s.clock.now(); at != 0 {
		sent = i64(at)
	}
	b := make([]byte, 0, 128*len(ends))
	for _, e := range ends {
		b = append(append(b, oneLine(e.Session)...), '\n')
		b = append(append(b, oneLine(e.Reason)...), '\n')
		b = append(strconv.AppendInt(b, e.Ago.Milliseconds(), 10), '\n')
		for _, count := range [...]uint64{e.BytesUp, e.BytesDown, e.MessagesUp, e.MessagesDown} {
			b = append(strconv.AppendUint(b, count, 10), '\n')
		}
		b = append(append(b, sent...), '\n')
	}
	return string(b)
}
