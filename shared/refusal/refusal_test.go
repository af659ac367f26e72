package refusal_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// statuses is what is promised to clients; a change here breaks them.
var statuses = map[refusal.Code]int{
	refusal.BadRequest: 400, refusal.RequestTooLong: 431, refusal.RequestTimeout: 408,
	refusal.UnknownBrowser: 400, refusal.BadQuery: 400, refusal.CDPClient: 400, refusal.ExposeNetwork: 400,
	refusal.Unauthorized: 401, refusal.ForeignOrigin: 403, refusal.NotFound: 404, refusal.UpgradeRequired: 426,
	refusal.NoVersion: 428, refusal.NoLabels: 428, refusal.NoIsolation: 428,
	refusal.QueueFull: 429, refusal.TooManyClasses: 429, refusal.AuthFailures: 429, refusal.TokenLimit: 429, refusal.TokenQueue: 429, refusal.Pending: 429,
	refusal.DialFailed: 502, refusal.WaitTimeout: 503, refusal.Draining: 503, refusal.RedisUnavailable: 503,
	refusal.OutOfDescriptors: 503, refusal.LeaseExpired: 503, refusal.Lost: 503,
	refusal.NoAssignment: 403, refusal.WorkerFull: 503, refusal.BrowserDown: 503,
	refusal.ServerRefused: 400, refusal.OtherRelease: 500, refusal.Internal: 500,
}

func TestTable(t *testing.T) {
	sentence := regexp.MustCompile(`^[A-Z][ -~]*[.]$`)
	code := regexp.MustCompile(`^[a-z_]+$`)
	seen := map[refusal.Code]bool{}
	for _, row := range refusal.All() {
		t.Run(string(row.Code), func(t *testing.T) {
			require.False(t, seen[row.Code], "twice in the table")
			seen[row.Code] = true
			require.Regexp(t, code, string(row.Code))
			require.Equal(t, statuses[row.Code], row.Status)
			require.NotEmpty(t, http.StatusText(row.Status))
			require.Regexp(t, sentence, row.What)
			require.Regexp(t, sentence, row.Remedy)
			require.LessOrEqual(t, len(row.What)+len(row.Remedy), 320, "too long to be read")
			require.Equal(t, row.Retryable, row.RetryAfter > 0)
			require.Equal(t, row.Retryable, row.Status == 429 || row.Status >= 502, "whether to retry follows from the status")
			require.Equal(t, row, refusal.Lookup(row.Code))
		})
	}
	require.Len(t, seen, len(statuses))
}

func TestUnknownCodeIsInternal(t *testing.T) {
	require.Equal(t, refusal.Internal, refusal.Lookup("no such code").Code)
	require.Equal(t, 500, refusal.Refusal{}.Status())
}

func TestTextNamesTheCase(t *testing.T) {
	r := refusal.New(refusal.NoVersion, "You use %s; chromium is here in %s.", "1.60", "1.62 and 1.65")
	require.Equal(t, "playwright-distributed: No worker of this pool runs your Playwright version. "+
		"You use 1.60; chromium is here in 1.62 and 1.65.\n"+
		"Use a client with the same major.minor version as one of the workers, or have the operator add a worker with yours. [no_version]", r.Text())
	require.True(t, strings.HasPrefix(r.Error(), "no_version: No worker"))
	require.NotContains(t, r.Error(), "\n")
}

func TestFromError(t *testing.T) {
	r := refusal.New(refusal.QueueFull, "100 wait.")
	require.Equal(t, r, refusal.From(fmt.Errorf("acquire: %w", r)))
	hidden := refusal.From(errors.New("redis://user:secret@host"))
	require.Equal(t, refusal.Internal, hidden.Code)
	require.NotContains(t, hidden.Text(), "secret")
}

// answers gives a refusal by both ways as what a client parses.
func answers(t *testing.T, r refusal.Refusal) map[string]*http.Response {
	t.Helper()
	raw, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.AppendHTTP([]byte{}))), nil)
	require.NoError(t, err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { r.Write(w) }))
	defer srv.Close()
	served, err := http.Get(srv.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(served.Body)
	require.NoError(t, err)
	require.NoError(t, served.Body.Close())
	served.Body = io.NopCloser(bytes.NewReader(body))
	return map[string]*http.Response{"raw": raw, "net/http": served}
}

func TestAnswers(t *testing.T) {
	for _, row := range refusal.All() {
		r := refusal.New(row.Code, "Because of %d reasons.", 3)
		for way, resp := range answers(t, r) {
			t.Run(string(row.Code)+"/"+way, func(t *testing.T) {
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, r.Text()+"\n", string(body))
				require.Equal(t, row.Status, resp.StatusCode)
				require.Equal(t, int64(len(body)), resp.ContentLength)
				require.True(t, resp.Close)
				require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
				require.Equal(t, string(row.Code), resp.Header.Get("x-pwdist-refusal"))
				require.Contains(t, resp.Header.Get("x-playwright-debug-log"), "Because of 3 reasons.")
				require.Equal(t, row.Retryable, resp.Header.Get("Retry-After") != "")
				require.Equal(t, row.Status == 401, resp.Header.Get("WWW-Authenticate") != "")
				require.Equal(t, row.Status == 426, resp.Header.Get("Upgrade") == "websocket")
			})
		}
	}
}

func TestHeaderNamesKeepTheirCase(t *testing.T) {
	r := refusal.New(refusal.NotFound, "")
	require.Contains(t, string(r.AppendHTTP(nil)), "\r\nx-playwright-debug-log: playwright-distributed: There is")
	w := httptest.NewRecorder()
	r.Write(w)
	require.Contains(t, w.Header(), "x-playwright-debug-log")
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		r    refusal.Refusal
		want string
	}{
		{refusal.Refusal{Code: refusal.QueueFull}, "5"},
		{refusal.Refusal{Code: refusal.QueueFull, RetryAfter: time.Millisecond}, "1"},
		{refusal.Refusal{Code: refusal.QueueFull, RetryAfter: 2500 * time.Millisecond}, "3"},
		{refusal.Refusal{Code: refusal.NotFound, RetryAfter: time.Second}, ""},
	}
	for _, tt := range tests {
		for way, resp := range answers(t, tt.r) {
			require.Equal(t, tt.want, resp.Header.Get("Retry-After"), "%v %s", tt.r, way)
		}
	}
}

// TestDetailIsHarmless: a detail may repeat what a stranger sent.
func TestDetailIsHarmless(t *testing.T) {
	evil := "opera\r\nSet-Cookie: a=b\r\n\r\n\x1b[31m\x00\u202e ü " + strings.Repeat("x", 5000)
	r := refusal.New(refusal.UnknownBrowser, "%s", evil)
	require.Equal(t, 1, strings.Count(r.Text(), "\n"))
	for way, resp := range answers(t, r) {
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Empty(t, resp.Header.Get("Set-Cookie"), way)
		require.NotContains(t, string(body), "\x1b")
		require.NotContains(t, string(body), "\u202e")
		require.Contains(t, string(body), "ü")
		require.Less(t, len(body), 1200)
		require.Regexp(t, `^[ -~]+$`, resp.Header.Get("x-playwright-debug-log"))
	}
}
