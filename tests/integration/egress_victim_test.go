package integration_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// victim is what pages must not reach: a web server on loopback, and ports
// where only one kind of attempt goes. It notes who got through.
type victim struct {
	mu   sync.Mutex
	hits map[string]int

	web                                                string // host:port
	stun, turn, quic, ice, raw, preconnect, clientPort int
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{hits: map[string]int{}}
	web := httptest.NewUnstartedServer(http.HandlerFunc(v.serve))
	web.Start()
	t.Cleanup(web.Close)
	v.web = web.Listener.Addr().String()
	_, port, err := net.SplitHostPort(v.web)
	require.NoError(t, err)
	if six, err := net.Listen("tcp6", "[::1]:"+port); err == nil {
		server := &http.Server{Handler: http.HandlerFunc(v.serve)}
		go func() { _ = server.Serve(six) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	v.stun, v.quic = v.datagrams(t, "stun", 0), v.datagrams(t, "quic", 0)
	v.turn, v.ice = v.connections(t, "turn"), v.connections(t, "ice")
	v.datagrams(t, "turn", v.turn)
	v.datagrams(t, "ice", v.ice)
	v.raw, v.preconnect, v.clientPort = v.connections(t, "raw"), v.connections(t, "preconnect"), v.connections(t, "proxy")
	return v
}

func (v *victim) hit(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hits[name]++
}

func (v *victim) has(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hits[name] > 0
}

// all are those who got through.
func (v *victim) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := []string{}
	for name := range v.hits {
		names = append(names, name)
	}
	return names
}

func (v *victim) serve(w http.ResponseWriter, r *http.Request) {
	v.hit(strings.TrimPrefix(r.URL.Path, "/hit/"))
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = io.WriteString(w, "secret of the victim")
}

func (v *victim) datagrams(t *testing.T, name string, port int) int {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 2000)
		for {
			if _, _, err := c.ReadFrom(buf); err != nil {
				return
			}
			v.hit(name + " by udp")
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func (v *victim) connections(t *testing.T, name string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			v.hit(name + " by tcp")
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// names are a DNS server: victim.test is the victim's, app.test the app's, and
// rebinding.test in turn the app's and the victim's.
func names(t *testing.T) (address string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		turn := 0
		buf := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			var ip [4]byte
			switch strings.ToLower(q.Name.String()) {
			case "victim.test.":
				ip = [4]byte{127, 0, 0, 1}
			case "app.test.":
				ip = [4]byte{127, 0, 0, 2}
			case "rebinding.test.":
				ip = [4]byte{127, 0, 0, 2}
				if q.Type == dnsmessage.TypeA {
					if turn++; turn > 1 {
						ip = [4]byte{127, 0, 0, 1}
					}
				}
			default:
				m.RCode = dnsmessage.RCodeNameError
			}
			if ip[0] != 0 && q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: ip},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// newApp is the application under test: on 127.0.0.2, at a port or a free one.
func newApp(t *testing.T, port string) *httptest.Server {
	t.Helper()
	app := httptest.NewUnstartedServer(http.HandlerFunc(serveApp))
	require.NoError(t, app.Listener.Close())
	var err error
	app.Listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	require.NoError(t, err)
	app.Start()
	t.Cleanup(app.Close)
	return app
}

const bigBody = 50_000_000

func serveApp(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html")
	switch q := r.URL.Query(); r.URL.Path {
	case "/redirect":
		status, _ := strconv.Atoi(q.Get("status"))
		h.Set("Location", q.Get("to"))
		w.WriteHeader(status)
	case "/csp":
		h.Set("Content-Security-Policy", "default-src 'none'; report-uri "+q.Get("report"))
		_, _ = io.WriteString(w, `<img src="/x.png">`)
	case "/sw.js":
		h.Set("Content-Type", "text/javascript")
		if to := q.Get("import"); to != "" {
			_, _ = io.WriteString(w, "importScripts("+strconv.Quote(to)+")")
			return
		}
		_, _ = io.WriteString(w, `onmessage = e => fetch(e.data).then(r => r.text(), String).then(text => e.source.postMessage(text));`)
	case "/cors":
		h.Set("Access-Control-Allow-Origin", "*")
		_, _ = io.WriteString(w, "from the app")
	case "/length":
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
	case "/big":
		h.Set("Content-Type", "application/octet-stream")
		block := make([]byte, 100_000)
		for range bigBody / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case "/events":
		h.Set("Content-Type", "text/event-stream")
		for n := range 3 {
			_, _ = io.WriteString(w, "data: event "+strconv.Itoa(n)+"\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done() // the page ends it
	case "/echo":
		echo(w, r)
	default:
		h.Set("Connection", "close") // so that a name is resolved again
		_, _ = io.WriteString(w, "<!doctype html><title>app</title><body>app")
	}
}

func (v *victim) targets(t *testing.T, app, other, down string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"app": app, "other": other, "down": down, "victim": v.web,
		"stun": v.stun, "turn": v.turn, "quic": v.quic, "ice": v.ice, "raw": v.raw, "preconnect": v.preconnect, "proxy": v.clientPort,
	})
	require.NoError(t, err)
	return string(b)
}
