package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

func TestUpgrade(t *testing.T) {
	p := serve(t)
	p.send(upgrade("/firefox?name=job+7", append(stock, "Cookie: secret=1", "X-Custom: kept", "x-pwdist-session: forged")...))
	u := receive(t, p.upgrades)
	require.Equal(t, "firefox", u.Ask.Demand.Browser)
	require.Equal(t, "1.65", u.Ask.Demand.Playwright)
	require.Equal(t, "job 7", u.Ask.Name)
	require.Equal(t, "127.0.0.1", u.Remote)
	require.Equal(t, "kept", u.Header.Get("X-Custom"))
	require.Equal(t, "AQIDBAUGBwgJCgsMDQ4PEA==", u.Header.Get("Sec-Websocket-Key"))
	require.Empty(t, u.Header.Get("Cookie"))
	require.Empty(t, u.Header.Get("X-Pwdist-Session"))
}

// TestSession goes from a request to a worker and back, with what the client
// sent right behind its request.
func TestSession(t *testing.T) {
	p := serve(t)
	frame := "\x82\x85\x00\x00\x00\x00hello"
	c := p.send(upgrade("/", stock...) + frame)
	u := receive(t, p.upgrades)
	_, err := io.WriteString(c, frame)
	require.NoError(t, err)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	w, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	worker, err := ln.Accept()
	require.NoError(t, err)
	_ = worker.SetDeadline(time.Now().Add(patience))
	ended := make(chan relay.Result, 1)
	_, err = p.Relay().Start(u.Client, w, []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), nil, func(r relay.Result) { ended <- r })
	require.NoError(t, err)

	got := make([]byte, 2*len(frame))
	_, err = io.ReadFull(worker, got)
	require.NoError(t, err)
	require.Equal(t, frame+frame, string(got))
	_, _ = io.WriteString(worker, "\x82\x02hi")
	_ = worker.Close()
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x02hi", string(all))
	_ = c.Close()
	counts := relay.Counts{BytesUp: uint64(2 * len(frame)), BytesDown: 4, MessagesUp: 2, MessagesDown: 1}
	require.Equal(t, relay.Result{Reason: relay.ReasonLost, Counts: counts}, receive(t, ended))
}

func TestAnswers(t *testing.T) {
	p := serve(t, func(o *Options) { o.AllowedOrigins = []string{"https://ok.example"} })
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: pool\r\n\r\n" }
	for name, c := range map[string]struct {
		request string
		status  int
		code    refusal.Code
		says    string
	}{
		"json":                {get("/json"), 200, "", `{"wsEndpointPath":"/"}`},
		"json of a browser":   {get("/firefox/json?x=1"), 200, "", `{"wsEndpointPath":"/"}`},
		"json by HEAD":        {"HEAD /json HTTP/1.1\r\nHost: pool\r\n\r\n", 200, "", ""},
		"json by POST":        {"POST /json HTTP/1.1\r\nHost: pool\r\nContent-Length: 2\r\n\r\n{}", 404, refusal.NotFound, "/json"},
		"json version":        {get("/json/version"), 400, refusal.CDPClient, "connect("},
		"json list":           {get("/json/list"), 400, refusal.CDPClient, "connect("},
		"devtools":            {get("/devtools/browser/1"), 400, refusal.CDPClient, "connect("},
		"no WebSocket":        {get("/"), 426, refusal.UpgradeRequired, "Playwright client"},
		"no WebSocket, HEAD":  {"HEAD / HTTP/1.1\r\nHost: pool\r\n\r\n", 426, refusal.UpgradeRequired, ""},
		"control in a header": {strings.Replace(upgrade("/", stock...), "Host: pool", "X-Odd: a\x03b", 1), 426, refusal.UpgradeRequired, ""},
		"upgrade by HTTP/1.0": {strings.Replace(upgrade("/", stock...), "HTTP/1.1", "HTTP/1.0", 1), 426, refusal.UpgradeRequired, ""},
		"HTTP/1.0":            {"GET / HTTP/1.0\r\n\r\n", 426, refusal.UpgradeRequired, "Playwright client"},
		"old WebSocket":       {strings.Replace(upgrade("/", stock...), "Version: 13", "Version: 8", 1), 426, refusal.UpgradeRequired, ""},
		"no key":              {strings.Replace(upgrade("/", stock...), "Sec-WebSocket-Key", "X-Key", 1), 426, refusal.UpgradeRequired, ""},
		"upgrade with a body": {strings.Replace(upgrade("/", stock...), "Host", "Content-Length: 3\r\nHost", 1) + "abc", 426, refusal.UpgradeRequired, ""},
		"no Connection":       {strings.Replace(upgrade("/", stock...), "Connection: Upgrade\r\n", "", 1), 426, refusal.UpgradeRequired, "a balancer"},
		"Connection: close":   {strings.Replace(upgrade("/", stock...), "Connection: Upgrade", "Connection: close", 1), 426, refusal.UpgradeRequired, "Connection header does not say"},
		"Connection: other":   {strings.Replace(upgrade("/", stock...), "Connection: Upgrade", "Connection: upgraded, keep-alive", 1), 426, refusal.UpgradeRequired, "a balancer"},
		"space in a name":     {"GET / HTTP/1.1\r\nHo st: pool\r\n\r\n", 426, refusal.UpgradeRequired, ""},
		"unknown path":        {get("/admin"), 404, refusal.NotFound, "/admin"},
		"upgrade elsewhere":   {upgrade("/admin", stock...), 404, refusal.NotFound, "/admin"},
		"bad query":           {upgrade("/?nope=1", stock...), 400, refusal.BadQuery, "nope"},
		"foreign page":        {upgrade("/", append(stock, "Origin: https://evil.example")...), 403, refusal.ForeignOrigin, "https://evil.example"},
		"puppeteer":           {upgrade("/", "User-Agent: Puppeteer/22"), 400, refusal.CDPClient, "connect("},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := answer(t, p.send(c.request), strings.SplitN(c.request, " ", 2)[0])
			require.Equal(t, c.status, r.StatusCode)
			require.Equal(t, string(c.code), r.Header.Get(refusal.HeaderCode))
			require.Contains(t, body, c.says)
			if strings.HasPrefix(c.request, "HEAD") {
				require.Empty(t, body)
			}
		})
	}
	require.Empty(t, p.upgrades)
	p.send(upgrade("/", append(stock, "Origin: https://OK.example")...))
	receive(t, p.upgrades)
}

// TestTrailingSpace has white space behind each value, which means nothing.
func TestTrailingSpace(t *testing.T) {
	p := serve(t, func(o *Options) { o.AllowedOrigins = []string{"https://ok.example"} })
	request := upgrade("/", append(stock, "Origin: https://ok.example", "X-Custom: a b")...)
	line, headers, _ := strings.Cut(request, "\r\n")
	p.send(line + "\r\n" + strings.ReplaceAll(strings.TrimSuffix(headers, "\r\n"), "\r\n", " \t\r\n") + "\r\n")
	u := receive(t, p.upgrades)
	require.Equal(t, "chromium", u.Ask.Demand.Browser)
	require.Equal(t, "websocket", u.Header.Get("Upgrade"))
	require.Equal(t, "a b", u.Header.Get("X-Custom"))
}

// TestConnectionLists asks for the upgrade as balancers and browsers do.
func TestConnectionLists(t *testing.T) {
	p := serve(t)
	for _, lines := range []string{
		"Connection: upgrade", "connection: keep-alive, Upgrade", "Connection: UPGRADE,keep-alive", "Connection: keep-alive\r\nConnection: upgrade",
	} {
		p.send(strings.Replace(upgrade("/", stock...), "Connection: Upgrade", lines, 1))
		receive(t, p.upgrades)
	}
}

// TestRefusedInFull sends more than the request, which must not cost the client
// the answer.
func TestRefusedInFull(t *testing.T) {
	p := serve(t)
	for range 50 {
		r, body := answer(t, p.send(upgrade("/nowhere", stock...)+strings.Repeat("x", 3000)))
		require.Equal(t, http.StatusNotFound, r.StatusCode)
		require.Len(t, body, int(r.ContentLength))
	}
}

// TestPieces sends a request byte by byte.
func TestPieces(t *testing.T) {
	p := serve(t)
	c := p.dial()
	for _, b := range []byte(upgrade("/", stock...)) {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	receive(t, p.upgrades)
}

func TestGarbage(t *testing.T) {
	p := serve(t)
	for name, sent := range map[string]string{
		"noise":          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"absolute form":  "GET http://pool/ HTTP/1.1\r\nHost: pool\r\n\r\n",
		"leading CRLF":   "\r\nGET / HTTP/1.1\r\nHost: pool\r\n\r\n",
		"bad URL":        "GET /%zz HTTP/1.1\r\n\r\n",
		"control in URL": "GET /\x01 HTTP/1.1\r\n\r\n",
		"no colon":       "GET / HTTP/1.1\r\nHost\r\n\r\n",
		"bad length":     "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"smuggling":      "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\nabcd",
		"bad chunk":      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"head: line":     "GET /" + strings.Repeat("a", maxRequest) + " HTTP/1.1\r\n\r\n",
		"head: headers":  "GET / HTTP/1.1\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("a", 1000)+"\r\n", 70) + "\r\n",
		"long body":      "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("a", 1000000),
		"long chunked":   "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10\r\n0123456789abcdef\r\n", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			c := p.dial()
			go func() { _, _ = io.WriteString(c, sent) }()
			r, body := answer(t, c)
			if strings.HasPrefix(name, "head: ") {
				require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, r.StatusCode)
				require.Contains(t, body, "64 KiB")
			} else {
				require.Equal(t, http.StatusBadRequest, r.StatusCode)
				require.Contains(t, body, "without TLS")
			}
			require.Equal(t, string(p.lastRefused()), r.Header.Get(refusal.HeaderCode))
		})
	}
	require.Empty(t, p.upgrades)
	p.send(upgrade("/", stock...)) // it still serves
	receive(t, p.upgrades)
}

// TestRejectedForGood has a whole request behind what cannot be read, and more than is read
// of it: nobody is let in, and the connection ends.
func TestRejectedForGood(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeaderTimeout = time.Hour })
	r, _ := answer(t, p.send("GET http://pool/ HTTP/1.1\r\n\r\n"+upgrade("/", stock...)))
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
	c := p.send("\r\n")
	for {
		if _, err := io.WriteString(c, upgrade("/", stock...)); err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	require.Empty(t, p.upgrades)
}

// TestPipelined has a second request behind the first: only the first counts.
func TestPipelined(t *testing.T) {
	p := serve(t)
	r, _ := answer(t, p.send(strings.Repeat("GET /json HTTP/1.1\r\nHost: pool\r\n\r\n", 500)))
	require.Equal(t, 200, r.StatusCode)
	p.send(upgrade("/", stock...) + upgrade("/", stock...))
	receive(t, p.upgrades)
	p.send(upgrade("/firefox", stock...))
	require.Equal(t, "firefox", receive(t, p.upgrades).Ask.Demand.Browser, "the second request was served too")
}

// TestSlow closes connections whose request does not come, and tells those that have
// begun one.
func TestSlow(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeaderTimeout = 500 * time.Millisecond })
	for _, sent := range []string{"", "G", "GET / HTTP/1.1\r\nHost: po", "GET /\r\n\r\n", "GET / HTTP/1.1\nHost: pool\n\n"} {
		c := p.send(sent)
		if sent == "" {
			all, _ := io.ReadAll(c)
			require.Empty(t, all)
			continue
		}
		r, _ := answer(t, c)
		require.Equal(t, http.StatusRequestTimeout, r.StatusCode)
		require.Equal(t, refusal.RequestTimeout, p.lastRefused())
	}
}

// TestWaits keeps a client that waits for longer than its request might take,
// and tells when it leaves.
func TestWaits(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeaderTimeout = 500 * time.Millisecond })
	c := p.send(upgrade("/", stock...))
	left := leaves(receive(t, p.upgrades))
	select {
	case <-left:
		t.Fatal("it was closed")
	case <-time.After(time.Second):
	}
	_ = c.Close()
	receive(t, left)
}

func TestDrain(t *testing.T) {
	p := serve(t)
	open := p.dial()
	p.send(upgrade("/", stock...))
	left := leaves(receive(t, p.upgrades))
	p.Drain()

	_, err := net.DialTimeout("tcp", p.Addr().String(), time.Second)
	require.Error(t, err, "it still accepts")

	_, err = io.WriteString(open, upgrade("/", stock...))
	require.NoError(t, err)
	r, _ := answer(t, open)
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.Equal(t, string(refusal.Draining), r.Header.Get(refusal.HeaderCode))

	select {
	case <-left:
		t.Fatal("a client that waited was closed")
	default:
	}
	p.Drain() // twice is once
	p.Edge.relay.Close()
	receive(t, left)
}

func TestAddressTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	e := New(Options{Listen: ln.Addr().String(), Pollers: 1, Log: zap.NewNop()}, nil)
	require.ErrorContains(t, e.Start(), "address already in use")
}

// TestSecrets looks for a token wherever a request can leave traces.
func TestSecrets(t *testing.T) {
	p := serve(t)
	const secret = "s3cr3t-t0ken"
	for _, request := range []string{
		upgrade("/?token="+secret+"&nope=1", stock...),
		upgrade("/?token="+secret+"&token="+secret, stock...),
		upgrade("/?token="+secret+"%zz", stock...),
		upgrade("/?token="+secret+";x=1", stock...),
		upgrade("/nowhere?token="+secret, stock...),
		upgrade("/?token="+secret, "User-Agent: Puppeteer/1"),
		upgrade("/?token="+secret, append(stock, "Origin: https://evil.example")...),
		upgrade("/?timeout=x", append(stock, "Authorization: Bearer "+secret)...),
		"GET /json/version?token=" + secret + " HTTP/1.1\r\nHost: pool\r\n\r\n",
		"GET /?token=" + secret + " HTTP/1.1\r\nHost: pool\r\n\r\n",
		"GET /?token=" + secret + "\x01 HTTP/1.1\r\nHost: pool\r\n\r\n",
		"GET /%zz?token=" + secret + " HTTP/1.1\r\nHost: pool\r\n\r\n",
		"GET /?token=" + secret + " NOTHTTP\r\n\r\n",
		"GET / HTTP/1.1\r\nAuthorization: Bearer " + secret + "\nX\r\n\r\n",
	} {
		all, _ := io.ReadAll(p.send(request))
		require.NotContains(t, string(all), secret, "%q", request)
	}
	p.send(upgrade("/?token="+secret, append(stock, "Authorization: Bearer "+secret, "Proxy-Authorization: Basic "+secret, "Cookie: c="+secret)...))
	u := receive(t, p.upgrades)
	require.NotContains(t, fmt.Sprint(u.Ask, u.Header), secret)
	require.NotContains(t, p.log.String(), secret)
}
