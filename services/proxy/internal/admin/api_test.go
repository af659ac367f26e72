package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/fleet"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/redistest"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	running  = "11111111aaaaaaaaaaaaaaaaaaaaaaaa"
	assigned = "22222222bbbbbbbbbbbbbbbbbbbbbbbb"
	waiting  = "33333333cccccccccccccccccccccccc"
)

// rig serves the API of a pool with two workers, a session that runs, one that
// is about to and one that waits.
func rig(t *testing.T) *http.ServeMux {
	t.Helper()
	ctx := t.Context()
	s := redistest.Store(t, client, state.DefaultOptions(), nil)
	w1, w2 := redistest.Worker("w1", 2), redistest.Worker("w2", 4)
	w1.Labels, w1.Lifetime = map[string]string{"zone": "a"}, 50
	redistest.Join(t, s, w1)
	_, err := s.Join(ctx, state.JoinRequest{Worker: w2, State: state.Unhealthy, Number: 1})
	require.NoError(t, err)
	for _, id := range []string{running, assigned, waiting} {
		_, err = s.Acquire(ctx, state.Request{
			Session: id, Proxy: "p1", Demand: state.Demand{Browser: "chromium", Playwright: "1.56"}, Name: "checkout",
			Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1:5", QueueLimit: 10,
		})
		require.NoError(t, err)
	}
	answer, err := s.Start(ctx, running, "w1", 1, "nonce", 1)
	require.NoError(t, err)
	require.Equal(t, state.StartOK, answer)

	workers, rev, err := s.Fleet(ctx)
	require.NoError(t, err)
	snap := &fleet.Snapshot{Rev: rev, Workers: workers}
	return serve(&API{Pool: "ci", Proxy: "p1", QueueLimit: 10, Fleet: func() *fleet.Snapshot { return snap }, Store: s, Log: zap.NewNop()})
}

func serve(a *API) *http.ServeMux {
	mux := http.NewServeMux()
	a.Register(mux.Handle)
	return mux
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func read[T any](t *testing.T, h http.Handler, path string) T {
	t.Helper()
	w := get(t, h, path)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	var v T
	require.NoError(t, d.Decode(&v))
	return v
}

func recent(t *testing.T, at *time.Time) {
	t.Helper()
	require.NotNil(t, at)
	require.WithinDuration(t, time.Now(), *at, time.Minute)
}

func TestFleet(t *testing.T) {
	require.Equal(t, Fleet{
		Pool: "ci", Proxy: "p1", Revision: 2, Slots: 2, Held: 2,
		Workers: []Worker{
			{ID: "w1", Endpoint: "w1:3131", State: "ready", Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.56.1",
				Isolation: []string{"context"}, Labels: map[string]string{"zone": "a"}, Slots: 2, Held: 2, Lifetime: 50, Served: 2},
			{ID: "w2", Endpoint: "w2:3131", State: "unhealthy", Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.56.1",
				Isolation: []string{"context"}, Slots: 4},
		},
	}, read[Fleet](t, rig(t), "/api/v1/fleet"))
}

func TestSessions(t *testing.T) {
	h := rig(t)
	got := read[Sessions](t, h, "/api/v1/sessions").Sessions
	require.Len(t, got, 2)
	recent(t, got[0].QueuedAt)
	recent(t, got[0].AssignedAt)
	recent(t, got[0].StartedAt)
	recent(t, got[1].AssignedAt)
	require.Nil(t, got[1].StartedAt)

	want := Session{
		ID: running, State: "active", Worker: "w1", Proxy: "p1", Attempt: 1, Browser: "chromium", BrowserVersion: "140.0.1",
		Playwright: "1.56.1", Name: "checkout", Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1:5",
		QueuedAt: got[0].QueuedAt, AssignedAt: got[0].AssignedAt, StartedAt: got[0].StartedAt,
	}
	require.Equal(t, want, got[0], "the oldest first")
	want.ID, want.State = "22222222…", "assigned"
	want.QueuedAt, want.AssignedAt, want.StartedAt = got[1].QueuedAt, got[1].AssignedAt, nil
	require.Equal(t, want, got[1])

	all := read[Sessions](t, h, "/api/v1/sessions?limit=1")
	require.Len(t, all.Sessions, 1)
	require.Equal(t, 2, all.Total)
}

func TestQueue(t *testing.T) {
	got := read[Queue](t, rig(t), "/api/v1/queue")
	require.Len(t, got.Classes, 1)
	require.Len(t, got.Classes[0].Head, 1)
	at, waited := got.Classes[0].Head[0].QueuedAt, got.Classes[0].Head[0].WaitedMS
	recent(t, at)
	require.NotNil(t, waited)
	require.GreaterOrEqual(t, *waited, int64(0))
	require.Equal(t, Queue{Waiting: 1, Limit: 10, Classes: []Class{{
		Demand: state.Demand{Browser: "chromium", Playwright: "1.56"}, Waiting: 1,
		Head: []Session{{
			ID: "33333333…", State: "queued", Proxy: "p1", Browser: "chromium", Playwright: "1.56", Name: "checkout",
			Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1:5", Place: 1, WaitedMS: waited, QueuedAt: at,
		}},
	}}}, got)
}

func TestIDsOfSessionsThatHaveNotStartedAreKept(t *testing.T) {
	h := rig(t)
	for _, path := range []string{"/api/v1/sessions", "/api/v1/queue", "/api/v1/fleet"} {
		body := get(t, h, path).Body.String()
		require.NotContains(t, body, assigned[:9], path)
		require.NotContains(t, body, waiting[:9], path)
	}
}

func TestEmptyPoolHasListsAndNoNulls(t *testing.T) {
	h := serve(&API{Fleet: func() *fleet.Snapshot { return &fleet.Snapshot{} }, Log: zap.NewNop(),
		Store: redistest.Store(t, client, state.DefaultOptions(), nil)})
	for path, list := range map[string]string{"fleet": `"workers": []`, "sessions": `"sessions": []`, "queue": `"classes": []`} {
		w := get(t, h, "/api/v1/"+path)
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), list)
	}
}

func TestBadLimit(t *testing.T) {
	h := rig(t)
	for _, limit := range []string{"0", "-1", "x", "10001", "1.5", "99999999999999999999"} {
		for _, path := range []string{"fleet", "sessions", "queue"} {
			w := get(t, h, "/api/v1/"+path+"?limit="+limit)
			require.Equal(t, http.StatusBadRequest, w.Code, limit)
			require.Equal(t, "limit is a number from 1 to 10000", strings.TrimSpace(w.Body.String()))
		}
	}
	require.Equal(t, http.StatusOK, get(t, h, "/api/v1/queue?limit=10000").Code)
}

func TestNothingIsWrittenHere(t *testing.T) {
	h := rig(t)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/queue", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// away is a Redis that cannot be read.
type away struct{}

var errAway = errors.New("dial tcp redis.internal: secret")

func (away) Loads(context.Context, []string) (map[string]state.Load, error) { return nil, errAway }

func (away) Running(context.Context, []string, int) ([]state.Record, int, error) {
	return nil, 0, errAway
}

func (away) Queues(context.Context, int) ([]state.Queue, int, error) { return nil, 0, errAway }

func TestRedisAway(t *testing.T) {
	h := serve(&API{Fleet: func() *fleet.Snapshot { return &fleet.Snapshot{} }, Store: away{}, Log: zap.NewNop()})
	for _, path := range []string{"fleet", "sessions", "queue"} {
		w := get(t, h, "/api/v1/"+path)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "Redis cannot be read just now; try again", strings.TrimSpace(w.Body.String()))
	}
}
