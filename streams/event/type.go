package event

import (
	"slices"
	"strings"
)

// Type says what happened. Its part before the dot is the family, which decides
// which part of an [Event] is set.
type Type string

// The types of schema version 1.
const (
	// PoolReset opens a log: Redis holds a new, empty data set. What earlier
	// events said about workers and sessions no longer holds.
	PoolReset Type = "pool.reset"
	// PoolResumed says that nobody could write for a while.
	PoolResumed Type = "pool.resumed"

	// WorkerJoined brings a worker into the pool, with all that is known of it.
	WorkerJoined Type = "worker.joined"
	// WorkerSuspect takes a worker out of placement because a dial failed, while
	// its next boot takes its place, or until it has brought back sessions that
	// Redis lost.
	WorkerSuspect Type = "worker.suspect"
	// WorkerUnhealthy takes a worker out of placement because its browser does
	// not work at the moment.
	WorkerUnhealthy Type = "worker.unhealthy"
	// WorkerReady brings a suspect or unhealthy worker back.
	WorkerReady Type = "worker.ready"
	// WorkerRetiring says that a worker takes no more sessions and will leave.
	WorkerRetiring Type = "worker.retiring"
	// WorkerLeft says that a worker has gone in an orderly way.
	WorkerLeft Type = "worker.left"
	// WorkerLost says that a worker is gone without having said so.
	WorkerLost Type = "worker.lost"

	// SessionQueued says that a client waits for a slot.
	SessionQueued Type = "session.queued"
	// SessionAssigned gives a session a slot of a worker.
	SessionAssigned Type = "session.assigned"
	// SessionStarted says that the client is connected to its browser.
	SessionStarted Type = "session.started"
	// SessionEnded is the last event of a session that was ever assigned.
	SessionEnded Type = "session.ended"
	// SessionRejected is the last event of a session that never had a slot.
	SessionRejected Type = "session.rejected"
)

var types = []Type{
	PoolReset, PoolResumed,
	WorkerJoined, WorkerSuspect, WorkerUnhealthy, WorkerReady, WorkerRetiring, WorkerLeft, WorkerLost,
	SessionQueued, SessionAssigned, SessionStarted, SessionEnded, SessionRejected,
}

// Types lists the types that this package knows.
func Types() []Type { return slices.Clone(types) }

// Known tells whether this package knows the type.
func (t Type) Known() bool { return slices.Contains(types, t) }

// Family is what stands before the first dot: "pool", "worker" or "session" for
// the types that this package knows.
func (t Type) Family() string {
	family, _, _ := strings.Cut(string(t), ".")
	return family
}

// Reason says why a session ended or was rejected.
type Reason string

// The reasons of schema version 1. Those that are reserved are kept for the
// consumers' sake: a reader that knows them needs no change when they come.
const (
	ReasonClientClosed   Reason = "client_closed"   // the client closed its connection
	ReasonWorkerClosed   Reason = "worker_closed"   // the browser server closed the connection
	ReasonWorkerDrained  Reason = "worker_drained"  // the worker was stopped and its drain deadline passed
	ReasonWorkerLost     Reason = "worker_lost"     // the worker is gone
	ReasonBrowserCrashed Reason = "browser_crashed" // the browser died
	ReasonBrowserHung    Reason = "browser_hung"    // the browser stopped answering and was killed
	ReasonProxyLost      Reason = "proxy_lost"      // the proxy is gone
	ReasonProxyDrained   Reason = "proxy_drained"   // the proxy was stopped and its drain deadline passed
	ReasonLeaseExpired   Reason = "lease_expired"   // assigned, but not started in time
	ReasonDialFailed     Reason = "dial_failed"     // no worker could be reached
	ReasonKilled         Reason = "killed"          // the pool had ended it before, and Redis lost that end; reserved for an operator's call
	ReasonStalled        Reason = "stalled"         // a side did not read for longer than the stall limit
	ReasonIdleTimeout    Reason = "idle_timeout"    // the client sent nothing for longer than allowed
	ReasonMaxDuration    Reason = "max_duration"    // the session ran for longer than allowed
	ReasonPolicy         Reason = "policy"          // the client made a call that the pool forbids
	ReasonCancelled      Reason = "cancelled"       // the client left before the session started
	ReasonWaitTimeout    Reason = "wait_timeout"    // waited for a slot for longer than allowed
	ReasonQueueFull      Reason = "queue_full"      // no place in the queue
	ReasonTokenLimit     Reason = "token_limit"     // the token has as many sessions as it may
	ReasonTokenQueue     Reason = "token_queue"     // the token has as many waiting sessions as it may
)

var reasons = []Reason{
	ReasonClientClosed, ReasonWorkerClosed, ReasonWorkerDrained, ReasonWorkerLost, ReasonBrowserCrashed, ReasonBrowserHung,
	ReasonProxyLost, ReasonProxyDrained, ReasonLeaseExpired, ReasonDialFailed, ReasonKilled, ReasonStalled,
	ReasonIdleTimeout, ReasonMaxDuration, ReasonPolicy, ReasonCancelled, ReasonWaitTimeout, ReasonQueueFull,
	ReasonTokenLimit, ReasonTokenQueue,
}

// Reasons lists the reasons that this package knows.
func Reasons() []Reason { return slices.Clone(reasons) }
