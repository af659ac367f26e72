// Package admin is the read-only JSON of the private port: the fleet as this
// proxy knows it, the sessions and the queue as Redis has them. Loads, sessions
// and queue are read when somebody asks; nothing is kept for them.
package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/fleet"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Store is the part of *state.Store that is read here.
type Store interface {
	Loads(ctx context.Context, workers []string) (map[string]state.Load, error)
	Running(ctx context.Context, workers []string, limit int) ([]state.Record, int, error)
	Queues(ctx context.Context, limit int) ([]state.Queue, int, error)
}

// API answers below /api/v1/.
type API struct {
	Pool       string
	Proxy      string
	QueueLimit int
	Fleet      func() *fleet.Snapshot
	Store      Store
	Log        *zap.Logger
}

const (
	readTime     = 3 * time.Second
	defaultLimit = 100
	maxLimit     = 10_000
)

// Register adds the API's routes.
func (a *API) Register(handle func(pattern string, h http.Handler)) {
	handle("GET /api/v1/fleet", a.answer(a.fleet))
	handle("GET /api/v1/sessions", a.answer(a.sessions))
	handle("GET /api/v1/queue", a.answer(a.queue))
}

func (a *API) answer(read func(ctx context.Context, limit int) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := defaultLimit
		if text := r.URL.Query().Get("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > maxLimit {
				http.Error(w, "limit is a number from 1 to "+strconv.Itoa(maxLimit), http.StatusBadRequest)
				return
			}
			limit = n
		}
		ctx, done := context.WithTimeout(r.Context(), readTime)
		defer done()
		v, err := read(ctx, limit)
		if err != nil {
			a.Log.Warn("cannot answer the admin API", zap.String("path", r.URL.Path), zap.Error(err))
			http.Error(w, "Redis cannot be read just now; try again", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(v)
	})
}

// Fleet is the answer of /api/v1/fleet.
type Fleet struct {
	Pool     string   `json:"pool"`
	Proxy    string   `json:"proxy"`    // the proxy that answers
	Revision int64    `json:"revision"` // of the fleet, as this proxy has read it
	Slots    int      `json:"slots"`    // of ready workers
	Held     int      `json:"held"`     // of all workers
	Workers  []Worker `json:"workers"`
}

// Worker is one worker of the fleet.
type Worker struct {
	ID             string            `json:"id"`
	Endpoint       string            `json:"endpoint"`
	State          string            `json:"state"`
	Browser        string            `json:"browser"`
	BrowserVersion string            `json:"browser_version"`
	Playwright     string            `json:"playwright"`
	Isolation      []string          `json:"isolation"`
	Labels         map[string]string `json:"labels,omitempty"`
	Slots          int               `json:"slots"`
	Held           int               `json:"held"`
	Lifetime       int               `json:"lifetime_sessions"` // 0 = no limit
	Served         int               `json:"served"`
}

func (a *API) fleet(ctx context.Context, _ int) (any, error) {
	snap := a.Fleet()
	loads, err := a.Store.Loads(ctx, ids(snap))
	if err != nil {
		return nil, err
	}
	f := Fleet{Pool: a.Pool, Proxy: a.Proxy, Revision: snap.Rev, Workers: []Worker{}}
	for _, id := range ids(snap) {
		m, load := snap.Workers[id], loads[id]
		f.Workers = append(f.Workers, Worker{
			ID: id, Endpoint: m.Endpoint, State: string(m.State), Browser: m.Browser, BrowserVersion: m.BrowserVersion,
			Playwright: m.Playwright, Isolation: m.Isolation, Labels: m.Labels, Slots: m.Slots, Held: load.Held,
			Lifetime: m.Lifetime, Served: load.Served,
		})
		f.Held += load.Held
		if m.State == state.Ready {
			f.Slots += m.Slots
		}
	}
	return f, nil
}

func ids(s *fleet.Snapshot) []string {
	all := make([]string, 0, len(s.Workers))
	for id := range s.Workers {
		all = append(all, id)
	}
	sort.Strings(all)
	return all
}

// Session is one session of /api/v1/sessions and /api/v1/queue.
type Session struct {
	ID             string            `json:"id"`
	State          string            `json:"state"`
	Worker         string            `json:"worker,omitempty"`
	Proxy          string            `json:"proxy"`
	Attempt        int               `json:"attempt"`
	Browser        string            `json:"browser"`
	BrowserVersion string            `json:"browser_version,omitempty"`
	Playwright     string            `json:"playwright,omitempty"`
	Name           string            `json:"name,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Token          string            `json:"token,omitempty"` // its name
	Client         string            `json:"client,omitempty"`
	Place          int               `json:"place,omitempty"` // in its queue
	WaitedMS       *int64            `json:"waited_ms,omitempty"`
	QueuedAt       *time.Time        `json:"queued_at,omitempty"`
	AssignedAt     *time.Time        `json:"assigned_at,omitempty"`
	StartedAt      *time.Time        `json:"started_at,omitempty"`
}

func sessionOf(r state.Record) Session {
	// The id of a session that has not started is its credential at the gate.
	id := r.Session
	if r.Phase != state.Active {
		id = id[:min(8, len(id))] + "…"
	}
	var waited *int64
	if r.Place > 0 {
		waited = new(r.Waited.Milliseconds())
	}
	return Session{
		ID: id, State: string(r.Phase), Worker: r.Worker, Proxy: r.Proxy, Attempt: r.Attempt, Browser: r.Browser,
		BrowserVersion: r.BrowserVersion, Playwright: r.Playwright, Name: r.Name, Labels: r.Labels, Token: r.Token,
		Client: r.Client, Place: r.Place, WaitedMS: waited, QueuedAt: at(r.Queued), AssignedAt: at(r.Assigned), StartedAt: at(r.Started),
	}
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Sessions is the answer of /api/v1/sessions: what holds a slot, oldest first. Of
// more than the limit it has those of some workers. It has what goes on with a
// worker that the fleet has lost as well.
type Sessions struct {
	Total    int       `json:"total"` // of the whole pool
	Sessions []Session `json:"sessions"`
}

func (a *API) sessions(ctx context.Context, limit int) (any, error) {
	records, total, err := a.Store.Running(ctx, ids(a.Fleet()), limit)
	if err != nil {
		return nil, err
	}
	out := Sessions{Total: total, Sessions: []Session{}}
	for _, r := range records {
		out.Sessions = append(out.Sessions, sessionOf(r))
	}
	return out, nil
}

// Queue is the answer of /api/v1/queue.
type Queue struct {
	Waiting int     `json:"waiting"` // clients of the whole pool
	Limit   int     `json:"limit"`
	Classes []Class `json:"classes"`
}

// Class is everybody who waits for the same.
type Class struct {
	Demand  state.Demand `json:"demand"`
	Waiting int          `json:"waiting"`
	Head    []Session    `json:"head"` // the first of them, in order
}

func (a *API) queue(ctx context.Context, limit int) (any, error) {
	queues, waiting, err := a.Store.Queues(ctx, limit)
	if err != nil {
		return nil, err
	}
	out := Queue{Waiting: waiting, Limit: a.QueueLimit, Classes: []Class{}}
	for _, q := range queues {
		c := Class{Demand: q.Demand, Waiting: q.Waiting, Head: []Session{}}
		for _, r := range q.Head {
			c.Head = append(c.Head, sessionOf(r))
		}
		out.Classes = append(out.Classes, c)
	}
	return out, nil
}
