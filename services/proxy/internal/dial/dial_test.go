package dial_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	patience = 20 * time.Second
	switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)

// worker is a gate for one connection.
type worker struct {
	endpoint string
	asked    chan *http.Request // the handshake that it got
	conn     chan net.Conn      // its side, after the answer
}

// answers makes a worker that answers every handshake with the same bytes, and
// closes the connection behind them if it is to hang up.
func answers(t *testing.T, answer string, hangUp bool) *worker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	w := &worker{endpoint: ln.Addr().String(), asked: make(chan *http.Request, 1), conn: make(chan net.Conn, 1)}
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			_ = c.Close()
			return
		}
		w.asked <- r
		_, _ = io.WriteString(c, answer)
		if hangUp {
			_ = c.Close()
			return
		}
		w.conn <- c
	}()
	t.Cleanup(func() {
		select {
		case c := <-w.conn:
			_ = c.Close()
		default:
		}
	})
	return w
}

func (w *worker) grant() state.Grant {
	return state.Grant{Session: "s-1", Worker: "w-1", Endpoint: w.endpoint, Attempt: 2}
}

func (w *worker) dial(t *testing.T, u dial.Upgrade) (*dial.Conn, error) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	c, err := dial.Dialer{}.Dial(ctx, w.grant(), u)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func TestStripTakesOutWhatIsSecretBetweenClientAndPool(t *testing.T) {
	t.Parallel()
	sent := http.Header{}
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Origin", "Host", "Content-Length", "Transfer-Encoding", "Keep-Alive",
		"TE", "Trailer", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Pwdist-Session", "X-Pwdist-Token", "x-pwdist-proxy", "X-Pwdist-Voucher",
	} {
		sent.Set(name, "the client's")
	}
	sent.Set("Upgrade", "websocket")
	sent.Add("Sec-Websocket-Protocol", "one")
	sent.Add("Sec-Websocket-Protocol", "two")
	sent.Set("User-Agent", "Playwright/1.56.1")

	dial.Strip(sent)
	require.Equal(t, http.Header{
		"Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {"one", "two"}, "User-Agent": {"Playwright/1.56.1"},
	}, sent)
}

func TestHandshakeIsPassedOn(t *testing.T) {
	t.Parallel()
	w := answers(t, switched, false)
	sent := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"a2V5"}, "Cookie": {"secret"},
		"X-Pwdist-Session": {"forged"}}
	dial.Strip(sent)
	_, err := w.dial(t, dial.Upgrade{
		Header: sent, Proxy: "p-1", Voucher: "v-1", Name: "checkout", Labels: `{"team":"a"}`, Token: "ci", Client: "10.0.0.1:5",
	})
	require.NoError(t, err)

	r := <-w.asked
	require.Equal(t, http.MethodGet, r.Method)
	require.Equal(t, "/session", r.URL.Path)
	require.Equal(t, w.endpoint, r.Host)
	require.Equal(t, http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"a2V5"},
		"X-Pwdist-Session": {"s-1"}, "X-Pwdist-Attempt": {"2"}, "X-Pwdist-Proxy": {"p-1"}, "X-Pwdist-Voucher": {"v-1"}, "X-Pwdist-Name": {"checkout"},
		"X-Pwdist-Labels": {`{"team":"a"}`}, "X-Pwdist-Token": {"ci"}, "X-Pwdist-Client": {"10.0.0.1:5"},
	}, r.Header)
}

func TestWhatIsNotKnownIsNotSent(t *testing.T) {
	t.Parallel()
	w := answers(t, switched, false)
	_, err := w.dial(t, dial.Upgrade{Proxy: "p-1"})
	require.NoError(t, err)
	require.Equal(t, http.Header{"X-Pwdist-Session": {"s-1"}, "X-Pwdist-Attempt": {"2"}, "X-Pwdist-Proxy": {"p-1"}}, (<-w.asked).Header)
}

func TestSwitchedWithEarlyBytes(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"none":                       "",
		"a frame":                    "\x81\x02hi",
		"more than one read's worth": strings.Repeat("early ", 3000),
	}
	for name, early := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := answers(t, switched+early, true)
			c, err := w.dial(t, dial.Upgrade{})
			require.NoError(t, err)
			require.Equal(t, switched, string(c.Head))
			rest, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, early, string(c.Early)+string(rest), "every byte once, in order")
		})
	}
}

// An answer may come behind others that only say that it will.
func TestInterimAnswers(t *testing.T) {
	t.Parallel()
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
	for name, answer := range map[string]string{"before the upgrade": switched, "before a refusal": "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := answers(t, interim+answer, true).dial(t, dial.Upgrade{})
			if answer != switched {
				no, ok := errors.AsType[*dial.Refused](err)
				require.True(t, ok, "got %v", err)
				require.Equal(t, 404, no.Status)
				return
			}
			require.NoError(t, err)
			require.Equal(t, switched, string(c.Head))
		})
	}
}

func TestConnectionOutlivesItsContext(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	w := answers(t, switched, false)
	ctx, cancel := context.WithCancel(t.Context())
	until := time.Now().Add(timeout)
	c, err := dial.Dialer{Timeout: timeout}.Dial(ctx, w.grant(), dial.Upgrade{})
	require.NoError(t, err)
	cancel()
	defer func() { _ = c.Close() }()
	theirs := <-w.conn
	defer func() { _ = theirs.Close() }()
	got := make([]byte, len("still here"))
	for _, wait := range []time.Duration{0, time.Until(until) + 10*time.Millisecond} {
		<-time.After(wait)
		_, err = io.WriteString(theirs, "still here")
		require.NoError(t, err)
		_, err = io.ReadFull(c, got)
		require.NoError(t, err)
		require.Equal(t, "still here", string(got))
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer string
		want   dial.Refused
		text   string
	}{
		"of the gate": {
			answer: "HTTP/1.1 503 Service Unavailable\r\nx-pwdist-refusal: worker_full\r\nContent-Length: 9\r\n\r\nno slots\n and more",
			want:   dial.Refused{Status: 503, Code: "worker_full", Body: "no slots\n"},
			text:   "the worker answered 503 worker_full: no slots",
		},
		"of the Playwright server": {
			answer: "HTTP/1.1 428 Precondition Required\r\nContent-Length: 10\r\n\r\nwrong one\n",
			want:   dial.Refused{Status: 428, Body: "wrong one\n"},
			text:   "the worker answered 428 : wrong one",
		},
		"body without a length": {
			answer: "HTTP/1.0 500 Oops\r\n\r\nuntil the end",
			want:   dial.Refused{Status: 500, Body: "until the end"},
			text:   "the worker answered 500 : until the end",
		},
		"body cut off": {
			answer: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\nhalf",
			want:   dial.Refused{Status: 502, Body: "half"},
			text:   "the worker answered 502 : half",
		},
		"body too long": {
			answer: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000),
			want:   dial.Refused{Status: 502, Body: strings.Repeat("x", 8192)},
			text:   "the worker answered 502 : " + strings.Repeat("x", 200),
		},
		"no upgrade": {
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			want:   dial.Refused{Status: 200},
			text:   "the worker answered 200 : ",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := answers(t, tt.answer, true).dial(t, dial.Upgrade{})
			no, ok := errors.AsType[*dial.Refused](err)
			require.True(t, ok, "got %v", err)
			require.Equal(t, tt.want, *no)
			require.EqualError(t, err, tt.text)
		})
	}
}

func TestNoAnswerOfAWorker(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer string
		text   string
		is     error
	}{
		"another protocol":  {answer: "SSH-2.0-OpenSSH_9.2\r\n\r\n", text: `not an HTTP answer: "SSH-2.0-OpenSSH_9.2"`},
		"another HTTP":      {answer: "HTTP/2 101\r\n\r\n", text: `not an HTTP answer: "HTTP/2 101"`},
		"no status":         {answer: "HTTP/1.1\r\n\r\n", text: `not an HTTP answer: "HTTP/1.1"`},
		"status of letters": {answer: "HTTP/1.1 abc\r\n\r\n", text: `not an HTTP answer: "HTTP/1.1 abc"`},
		"nothing":           {answer: "", text: "reading the worker's answer: unexpected EOF", is: io.ErrUnexpectedEOF},
		"head cut off": {answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso", text: "reading the worker's answer: unexpected EOF",
			is: io.ErrUnexpectedEOF},
		"nothing but interim answers": {answer: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100),
			text: "the worker does not come to an answer"},
		"head of many lines": {answer: "HTTP/1.1 101 S\r\n" + strings.Repeat("X-A: b\r\n", 2500) + "\r\n",
			text: "reading the worker's answer: the answer's head is longer than 16384 bytes"},
		"head of one long line": {answer: "HTTP/1.1 101 S\r\nX-A: " + strings.Repeat("b", 17_000),
			text: "reading the worker's answer: the answer's head is longer than 16384 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A worker that says too much is not waited for, so it does not hang up.
			_, err := answers(t, tt.answer, tt.is != nil).dial(t, dial.Upgrade{})
			require.EqualError(t, err, tt.text)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			_, refused := errors.AsType[*dial.Refused](err)
			require.False(t, refused, "no answer is no refusal")
		})
	}
}

func TestContextBoundsTheHandshake(t *testing.T) {
	t.Parallel()
	t.Run("deadline of a worker that is silent", func(t *testing.T) {
		t.Parallel()
		w := answers(t, "", false)
		ctx, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer done()
		_, err := dial.Dialer{}.Dial(ctx, w.grant(), dial.Upgrade{})
		require.Error(t, err)
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "it ended by its context")
	})
	t.Run("timeout of a worker that is silent", func(t *testing.T) {
		t.Parallel()
		w := answers(t, "HTTP/1.1 101 Swi", false)
		ctx, done := context.WithTimeout(t.Context(), patience)
		defer done()
		_, err := dial.Dialer{Timeout: 50 * time.Millisecond}.Dial(ctx, w.grant(), dial.Upgrade{})
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Regexp(t, "^reading the worker's answer: read tcp .*: i/o timeout$", err.Error())
		require.NoError(t, ctx.Err())
	})
	t.Run("client leaves long before the timeout", func(t *testing.T) {
		t.Parallel()
		w := answers(t, "", false)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-w.asked
			cancel()
		}()
		began := time.Now()
		_, err := dial.Dialer{Timeout: patience}.Dial(ctx, w.grant(), dial.Upgrade{})
		require.Error(t, err)
		require.Less(t, time.Since(began), patience/2)
	})
	t.Run("timeout before there is a connection", func(t *testing.T) {
		t.Parallel()
		_, err := dial.Dialer{Timeout: time.Nanosecond}.Dial(t.Context(), state.Grant{Endpoint: "127.0.0.1:9"}, dial.Upgrade{})
		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok, "got %v", err)
		require.True(t, timeout.Timeout())
	})
	t.Run("client leaves in the middle of the answer", func(t *testing.T) {
		t.Parallel()
		w := answers(t, "HTTP/1.1 101 Swi", false)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-w.asked
			cancel()
		}()
		_, err := dial.Dialer{}.Dial(ctx, w.grant(), dial.Upgrade{})
		require.Error(t, err)
		theirs := <-w.conn
		defer func() { _ = theirs.Close() }()
		_, err = theirs.Read(make([]byte, 1))
		require.Error(t, err, "the connection is closed")
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, ln.Close())
		_, err = dial.Dialer{}.Dial(t.Context(), state.Grant{Endpoint: ln.Addr().String()}, dial.Upgrade{})
		require.Error(t, err)
	})
}
