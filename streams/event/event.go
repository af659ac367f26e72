package event

import "time"

// Version is the schema version that this package writes and fully understands.
const Version = 1

// Event is one entry of the log. Exactly one of Epoch, Worker and Session is set
// for a type that this package knows, by the type's family; for an unknown type
// of a known family the part is set when the entry names its subject.
type Event struct {
	// StreamID is the entry's place in the Redis stream, as in "1700000000000-0".
	// It is empty for an event that was not read from a stream.
	StreamID string
	// Version is the schema version that the writer used.
	Version int
	Type    Type
	// ID identifies the fact: "<subject>:<type>:<n>". A fact that was written
	// twice, which a Redis failover can bring about, has the same ID both times.
	// Treat it as opaque and use it to tell repetitions.
	ID string
	// At is when the event was recorded, by the clock of Redis, to the millisecond.
	At time.Time
	// Happened is when it took place, for what was reported late; zero otherwise.
	// See [Event.Time].
	Happened time.Time
	// Pool is the name of the pool.
	Pool string

	Epoch   *Epoch   // pool.*
	Worker  *Worker  // worker.*
	Session *Session // session.*

	// Extra holds the fields that this package does not know for this type. It is
	// nil when there are none.
	Extra map[string]string
}

// Time is when the event took place: Happened where it is set, else At.
func (e *Event) Time() time.Time {
	if !e.Happened.IsZero() {
		return e.Happened
	}
	return e.At
}

// Subject is the id of the session or worker that the event is about, or the
// pool's name.
func (e *Event) Subject() string {
	switch {
	case e.Session != nil:
		return e.Session.ID
	case e.Worker != nil:
		return e.Worker.ID
	default:
		return e.Pool
	}
}

// Epoch is the part of pool events.
type Epoch struct {
	// ID names this incarnation of the pool's data in Redis.
	ID string
	// Gap is for how long nobody had written; pool.resumed only. It is negative
	// when the clock of Redis went backwards.
	Gap time.Duration
}

// Worker is the part of worker events. worker.joined sets all of it; the other
// types set ID, Browser, BrowserVersion, Playwright, Reason and Number.
type Worker struct {
	ID             string // new at every boot of the process
	Endpoint       string // where proxies reach it
	Flavour        string // id of what placement looks at
	State          WorkerState
	Browser        string
	BrowserVersion string
	Playwright     string // full version of its Playwright server
	Slots          int64  // sessions at once
	Lifetime       int64  // sessions in total; 0 is without limit
	Labels         map[string]string
	Isolation      []string // isolation modes it offers
	Reason         string
	Number         int64 // its last heartbeat
}

// Session is the part of session events.
type Session struct {
	ID      string
	Proxy   string
	Attempt int64 // how often it was assigned; 0 for never
	// Worker has the session. In session.ended it is the last one that had it and
	// empty when the session had gone back to the queue.
	Worker         string
	Browser        string // as demanded until assigned, then the worker's
	BrowserVersion string
	Playwright     string // client's major.minor until assigned, then the worker's full version
	Name           string // given by the client
	Labels         map[string]string
	Token          string // name of the token that let the client in; never the token
	Client         string // client's address

	Class string // equal demands share a class
	Seq   int64  // place in the order of the queue

	Reason       Reason
	Queued       time.Duration // asked for until assigned (or until it ended)
	Connect      time.Duration // assigned until started
	Active       time.Duration // started until ended
	Started      bool          // whether the client ever had its browser
	BytesUp      int64         // client to browser
	BytesDown    int64         // browser to client
	MessagesUp   int64
	MessagesDown int64
}
