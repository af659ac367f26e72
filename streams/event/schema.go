package event

import "slices"

// need says whether a type has a field.
type need int

const (
	absent need = iota
	optional
	required
)

// field describes one flat field of a family.
type field struct {
	name string
	// in says which types have the field.
	in func(Type) need
	// of points to the field's place in the event; the type of the pointer decides
	// how the value is written.
	of func(*Event) any
	// always tells that an optional field is written although it is zero.
	always func(*Event) bool
	doc    string
}

// maxFields is more than any family has.
const maxFields = 32

// fieldsOf lists the body fields of a family in their canonical order; nil for an
// unknown family.
func fieldsOf(family string) []field {
	switch family {
	case "pool":
		return poolFields
	case "worker":
		return workerFields
	case "session":
		return sessionFields
	}
	return nil
}

// addPart sets the part of the event that belongs to its family.
func (e *Event) addPart() {
	switch e.Type.Family() {
	case "pool":
		e.Epoch = &Epoch{}
	case "worker":
		e.Worker = &Worker{}
	case "session":
		e.Session = &Session{}
	}
}

func (e *Event) dropPart() { e.Epoch, e.Worker, e.Session = nil, nil, nil }

func (e *Event) hasPart() bool { return e.Epoch != nil || e.Worker != nil || e.Session != nil }

// needOf is in, except that a type which a later version added may have any
// field of its family, of which only the subject (the first) is sure.
func (f *field) needOf(t Type, subject bool) need {
	if t.Known() {
		return f.in(t)
	}
	if subject {
		return required
	}
	return optional
}

func everywhere(n need) func(Type) need { return func(Type) need { return n } }

func in(n need, only ...Type) func(Type) need {
	return func(t Type) need {
		if slices.Contains(only, t) {
			return n
		}
		return absent
	}
}

var headerFields = []struct{ name, format, doc string }{
	{"v", "integer", "Schema version. Readers refuse or accept a higher one; they never guess."},
	{"type", "text", "What happened."},
	{"id", "text", "Identifies the fact as `<subject>:<type>:<n>`: the subject is the session, the worker or the pool; n is the attempt of a session, the heartbeat number of a worker, the epoch or time of a pool event. The same fact written twice has the same id. Treat it as opaque."},
	{"at", "time", "When it was recorded, by the clock of Redis, in ms since 1970."},
	{"happened", "time", "When it took place; only on what was reported late."},
	{"pool", "text", "Name of the pool."},
}

var poolFields = []field{
	{name: "epoch", in: everywhere(required), of: func(e *Event) any { return &e.Epoch.ID },
		doc: "Incarnation of the pool's data in Redis."},
	{name: "gap_ms", in: in(required, PoolResumed), of: func(e *Event) any { return &e.Epoch.Gap },
		doc: "For how long nobody had written; negative when the clock of Redis went backwards."},
}

var workerFields = []field{
	{name: "worker", in: everywhere(required), of: func(e *Event) any { return &e.Worker.ID },
		doc: "Id of the worker, new at every boot."},
	{name: "endpoint", in: in(required, WorkerJoined), of: func(e *Event) any { return &e.Worker.Endpoint },
		doc: "Where proxies reach it."},
	{name: "flavour", in: in(required, WorkerJoined), of: func(e *Event) any { return &e.Worker.Flavour },
		doc: "Id of what placement looks at: browser, Playwright version, isolation modes and labels."},
	{name: "state", in: in(optional, WorkerJoined), of: func(e *Event) any { return &e.Worker.State },
		doc: "`unhealthy` or `retiring` for a worker that joins in that state; left out for `ready`."},
	{name: "browser", in: everywhere(required), of: func(e *Event) any { return &e.Worker.Browser },
		doc: "`chromium`, `firefox` or `webkit`."},
	{name: "browser_version", in: everywhere(optional), of: func(e *Event) any { return &e.Worker.BrowserVersion },
		doc: "Version of the browser."},
	{name: "playwright", in: everywhere(required), of: func(e *Event) any { return &e.Worker.Playwright },
		doc: "Full version of its Playwright server."},
	{name: "slots", in: in(required, WorkerJoined), of: func(e *Event) any { return &e.Worker.Slots },
		doc: "Sessions it serves at once."},
	{name: "lifetime", in: in(required, WorkerJoined), of: func(e *Event) any { return &e.Worker.Lifetime },
		doc: "Sessions it serves before it is replaced; 0 is without limit."},
	{name: "labels", in: in(optional, WorkerJoined), of: func(e *Event) any { return &e.Worker.Labels },
		doc: "Its labels."},
	{name: "isolation", in: in(optional, WorkerJoined), of: func(e *Event) any { return &e.Worker.Isolation },
		doc: "Isolation modes it offers."},
	{name: "reason", in: in(optional, WorkerSuspect, WorkerUnhealthy, WorkerRetiring, WorkerLeft, WorkerLost),
		of: func(e *Event) any { return &e.Worker.Reason }, doc: "Why."},
	{name: "number", in: everywhere(required), of: func(e *Event) any { return &e.Worker.Number },
		doc: "Number of its last heartbeat."},
}

var sessionFields = []field{
	{name: "session", in: everywhere(required), of: func(e *Event) any { return &e.Session.ID },
		doc: "Id of the session."},
	{name: "proxy", in: everywhere(required), of: func(e *Event) any { return &e.Session.Proxy },
		doc: "Id of the proxy that the client is connected to, new at every boot."},
	{name: "attempt", in: everywhere(required), of: func(e *Event) any { return &e.Session.Attempt },
		doc: "How often it was assigned; 0 for never."},
	{name: "worker", in: func(t Type) need {
		switch t {
		case SessionAssigned, SessionStarted:
			return required
		case SessionEnded:
			return optional
		}
		return absent
	}, of: func(e *Event) any { return &e.Session.Worker },
		doc: "Worker that has the session, or had it last; left out when it had gone back to the queue."},
	{name: "browser", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Browser },
		doc: "Browser: as demanded until assigned, then the worker's."},
	{name: "browser_version", in: in(optional, SessionAssigned, SessionStarted, SessionEnded),
		of: func(e *Event) any { return &e.Session.BrowserVersion }, doc: "Version of the worker's browser."},
	{name: "playwright", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Playwright },
		doc: "The client's major.minor until assigned, then the worker's full version."},
	{name: "name", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Name },
		doc: "Name that the client gave the session."},
	{name: "labels", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Labels },
		doc: "Labels that the client gave the session."},
	{name: "token", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Token },
		doc: "Name of the token that let the client in; never the token itself."},
	{name: "client", in: everywhere(optional), of: func(e *Event) any { return &e.Session.Client },
		doc: "Address of the client."},
	{name: "class", in: in(required, SessionQueued), of: func(e *Event) any { return &e.Session.Class },
		doc: "Id of the demand; sessions that ask for the same share it."},
	{name: "seq", in: in(required, SessionQueued), of: func(e *Event) any { return &e.Session.Seq },
		doc: "Place in the order of the queue; it keeps its place when it comes back to the queue."},
	{name: "reason", in: in(required, SessionEnded, SessionRejected), of: func(e *Event) any { return &e.Session.Reason },
		doc: "Why it ended."},
	{name: "queued_ms", in: in(required, SessionAssigned, SessionEnded, SessionRejected),
		of:  func(e *Event) any { return &e.Session.Queued },
		doc: "From the client's request to the assignment, or to the end without one."},
	{name: "connect_ms", in: in(optional, SessionStarted, SessionEnded), of: func(e *Event) any { return &e.Session.Connect },
		always: func(e *Event) bool {
			return e.Session.Started || e.Type == SessionStarted && e.Happened.IsZero()
		},
		doc: "From the assignment to the start; left out when it did not start, or when the start was reported late."},
	{name: "active_ms", in: in(optional, SessionEnded), of: func(e *Event) any { return &e.Session.Active },
		always: func(e *Event) bool { return e.Session.Started },
		doc:    "From the start to the end; left out when it did not start."},
	{name: "started", in: in(required, SessionEnded), of: func(e *Event) any { return &e.Session.Started },
		doc: "Whether the client ever had its browser."},
	{name: "bytes_up", in: in(required, SessionEnded), of: func(e *Event) any { return &e.Session.BytesUp },
		doc: "Bytes from the client to the browser."},
	{name: "bytes_down", in: in(required, SessionEnded), of: func(e *Event) any { return &e.Session.BytesDown },
		doc: "Bytes from the browser to the client."},
	{name: "messages_up", in: in(required, SessionEnded), of: func(e *Event) any { return &e.Session.MessagesUp },
		doc: "Messages from the client to the browser."},
	{name: "messages_down", in: in(required, SessionEnded), of: func(e *Event) any { return &e.Session.MessagesDown },
		doc: "Messages from the browser to the client."},
}
