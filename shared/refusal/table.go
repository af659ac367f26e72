// Package refusal is the one table of everything that the pool says no with.
//
// Stock Playwright clients print the body of a refused upgrade, so these texts
// are the user interface of a pool that cannot serve: each says what happened
// and what to do about it. Proxy and worker refuse through this package only,
// and docs/refusals.md prints the same table.
package refusal

import (
	"net/http"
	"time"
)

// Code names a reason for refusing. It is stable: clients, metrics and events
// carry it.
type Code string

// The codes. The table below gives each its meaning.
const (
	BadRequest      Code = "bad_request"
	RequestTooLong  Code = "request_too_long"
	RequestTimeout  Code = "request_timeout"
	UnknownBrowser  Code = "unknown_browser"
	BadQuery        Code = "bad_query"
	AuthFailures    Code = "auth_failures"
	Unauthorized    Code = "unauthorized"
	ForeignOrigin   Code = "foreign_origin"
	NotFound        Code = "not_found"
	UpgradeRequired Code = "upgrade_required"
	CDPClient       Code = "cdp_client"
	ExposeNetwork   Code = "expose_network"

	NoVersion   Code = "no_version"
	NoLabels    Code = "no_labels"
	NoIsolation Code = "no_isolation"

	ServerRefused Code = "server_refused"

	QueueFull      Code = "queue_full"
	TooManyClasses Code = "too_many_classes"
	TokenLimit     Code = "token_limit"
	TokenQueue     Code = "token_queue"
	Pending        Code = "pending"

	DialFailed       Code = "dial_failed"
	WaitTimeout      Code = "wait_timeout"
	Draining         Code = "draining"
	RedisUnavailable Code = "redis_unavailable"
	OutOfDescriptors Code = "out_of_descriptors"
	LeaseExpired     Code = "lease_expired"
	Lost             Code = "lost"

	NoAssignment Code = "no_assignment"
	WorkerFull   Code = "worker_full"
	BrowserDown  Code = "browser_down"

	OtherRelease Code = "other_release"
	Internal     Code = "internal"
)

// Row is what the table says about one code.
type Row struct {
	Code Code
	// Status is the HTTP status of the refused request.
	Status int
	// Retryable says that the same request can succeed later. Such a refusal
	// carries Retry-After.
	Retryable bool
	// RetryAfter is the wait that is advised where the refusal names none.
	RetryAfter time.Duration
	// What happened, in one sentence.
	What string
	// Remedy is what the reader can do, in one or two sentences.
	Remedy string
}

// All returns the table in the order in which a reader meets the codes: the
// request itself, the fleet, capacity, failures, the worker's gate.
func All() []Row { return rows() }

// Lookup returns the row of a code; a code that is not in the table gets the
// row of [Internal].
func Lookup(c Code) Row {
	table := rows()
	for _, r := range table {
		if r.Code == c {
			return r
		}
	}
	return table[len(table)-1]
}

func mistake(c Code, status int, what, remedy string) Row {
	return Row{Code: c, Status: status, What: what, Remedy: remedy}
}

func later(c Code, status int, after time.Duration, what, remedy string) Row {
	return Row{Code: c, Status: status, Retryable: true, RetryAfter: after, What: what, Remedy: remedy}
}

func rows() []Row {
	return []Row{
		mistake(BadRequest, http.StatusBadRequest,
			"The request cannot be read.",
			"Connect by ws://HOST:PORT with a Playwright client. This port speaks HTTP/1.1 without TLS, and is no proxy for other addresses."),
		mistake(RequestTooLong, http.StatusRequestHeaderFieldsTooLarge,
			"The request has more than 64 KiB of headers.",
			"Send fewer or shorter headers: look at the headers option of connect(), and at cookies."),
		mistake(RequestTimeout, http.StatusRequestTimeout,
			"The request did not come in time.",
			"Send requests at once and whole, or have the operator raise limits.request."),
		mistake(UnknownBrowser, http.StatusBadRequest,
			"This pool does not know the browser that was asked for.",
			"Ask for chromium, firefox or webkit: by the browser type you call connect() on, or with ?browser=chromium in the URL."),
		mistake(BadQuery, http.StatusBadRequest,
			"The URL has a query parameter that cannot be used.",
			"Correct the URL. Parameters are browser, isolation, name, label=key=value, require=key=value, token and timeout."),
		mistake(CDPClient, http.StatusBadRequest,
			"This looks like a CDP or Puppeteer client; the pool speaks the Playwright protocol.",
			"Use chromium.connect('ws://HOST:PORT') of Playwright, with this pool's address, instead of chromium.connectOverCDP() or puppeteer.connect()."),
		mistake(ExposeNetwork, http.StatusBadRequest,
			"This pool does not lead pages into the network of their client, which exposeNetwork asks for.",
			"Connect without exposeNetwork. Pages reach what their worker's machine reaches, so have the operator run a worker where they reach it, or make the site reachable from the workers."),
		mistake(Unauthorized, http.StatusUnauthorized,
			"The token is missing or wrong.",
			"Send one of the pool's tokens: ?token=... in the URL, or the header 'Authorization: Bearer ...' in the headers option of connect()."),
		later(AuthFailures, http.StatusTooManyRequests, 10*time.Second,
			"Too many connections from your address came without a valid token.",
			"Stop trying until the token is right: ?token=... in the URL, or the header 'Authorization: Bearer ...' in the headers option of connect()."),
		mistake(ForeignOrigin, http.StatusForbidden,
			"A web page of another origin tried to connect.",
			"Connect from a program, or have the operator allow this origin on the proxy."),
		mistake(NotFound, http.StatusNotFound,
			"There is nothing at this path.",
			"Connect to ws://HOST:PORT/, or to /chromium, /firefox or /webkit there."),
		mistake(UpgradeRequired, http.StatusUpgradeRequired,
			"This address serves WebSocket connections and got a request without an upgrade to one.",
			"Open it with a Playwright client: chromium.connect('ws://HOST:PORT'). Where one did, a balancer in between does not pass the upgrade on: nginx needs proxy_http_version 1.1 and proxy_set_header for Upgrade and Connection."),

		mistake(NoVersion, http.StatusPreconditionRequired,
			"No worker of this pool runs your Playwright version.",
			"Use a client with the same major.minor version as one of the workers, or have the operator add a worker with yours."),
		mistake(NoLabels, http.StatusPreconditionRequired,
			"No worker of this pool has the labels that were required.",
			"Change or drop the require= parameters, or have the operator start a worker with these labels."),
		mistake(NoIsolation, http.StatusPreconditionRequired,
			"No worker of this pool offers the isolation that was asked for.",
			"Change or drop the isolation= parameter, or have the operator start a worker that offers it."),
		mistake(ServerRefused, http.StatusBadRequest,
			"The Playwright server of a worker does not take this connection.",
			"Connect with a Playwright client as it is, and look at what is between it and the pool: it may have changed the WebSocket headers."),

		later(QueueFull, http.StatusTooManyRequests, 5*time.Second,
			"All slots are taken and the queue is full.",
			"Try again later, run fewer sessions at once, or have the operator add workers or raise the queue size."),
		later(TooManyClasses, http.StatusTooManyRequests, 5*time.Second,
			"All slots are taken and too many different kinds of request are waiting already.",
			"Try again later, or use fewer different combinations of browser, version, isolation and required labels at once."),

		later(TokenLimit, http.StatusTooManyRequests, 5*time.Second,
			"Your token has as many sessions as it may have at a time.",
			"Close sessions that are not needed or try again when some have ended, or have the operator raise max_sessions of the token."),
		later(TokenQueue, http.StatusTooManyRequests, 5*time.Second,
			"All slots are taken, and your token fills its share of the queue.",
			"Try again later, run fewer sessions at once, or have the operator raise queue_share of the token or add workers."),
		later(Pending, http.StatusTooManyRequests, time.Second,
			"Too many connections of your address have not sent their request.",
			"Send requests at once and whole, or have the operator raise limits.pending."),

		later(DialFailed, http.StatusBadGateway, time.Second,
			"No worker that was tried answered.",
			"Try again. If it keeps happening, the operator should check that the proxy can reach the workers' addresses."),
		later(WaitTimeout, http.StatusServiceUnavailable, time.Second,
			"No slot became free in the time this request may wait.",
			"Try again later, wait longer with ?timeout=, or have the operator add workers."),
		later(Draining, http.StatusServiceUnavailable, time.Second,
			"This proxy is shutting down and takes no new sessions.",
			"Connect again: the next attempt reaches another proxy, or this one once it has restarted."),
		later(RedisUnavailable, http.StatusServiceUnavailable, 2*time.Second,
			"The pool cannot use its Redis, so it cannot assign new sessions. Running sessions go on.",
			"Try again in a moment. If it keeps happening, the operator should check Redis."),
		later(OutOfDescriptors, http.StatusServiceUnavailable, time.Second,
			"This proxy has as many connections open as the system lets it have.",
			"Try again later, or have the operator raise the limit of open files (ulimit -n) or add a proxy."),
		later(LeaseExpired, http.StatusServiceUnavailable, time.Second,
			"A worker was assigned, but the session did not start on it in time.",
			"Try again. If it keeps happening, the operator should check the load of the workers and the network to them."),
		later(Lost, http.StatusServiceUnavailable, time.Second,
			"The pool lost track of this request, for example because the proxy was cut off from Redis for too long.",
			"Try again."),

		mistake(NoAssignment, http.StatusForbidden,
			"This worker has no such session to start: it was never assigned here, has ended, or was used already.",
			"Connect to the pool's proxy instead; it assigns a worker to every session."),
		later(WorkerFull, http.StatusServiceUnavailable, time.Second,
			"This worker serves as many sessions as it has slots.",
			"Try again through the pool's proxy."),
		later(BrowserDown, http.StatusServiceUnavailable, time.Second,
			"The browser of this worker is not running at the moment; it is being restarted.",
			"Try again through the pool's proxy."),
		mistake(OtherRelease, http.StatusInternalServerError,
			"This proxy and the data of its pool are of two releases, so it cannot assign sessions.",
			"Trying again does not help. Have the operator upgrade this proxy to the release of the pool, or give it a pool of its own (PWDIST_POOL); docs/operations.md tells how."),
		mistake(Internal, http.StatusInternalServerError,
			"Something went wrong inside the pool.",
			"Try again. If it keeps happening, the log of the proxy or worker at this time says what it was."),
	}
}
