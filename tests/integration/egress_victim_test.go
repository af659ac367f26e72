package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// victim is what pages must not reach: for each attempt a port of loopback of its
// own, for TCP and UDP. It notes who got through.
type victim struct {
	ports map[string]int

	mu   sync.Mutex
	hits map[string]bool
}

func newVictim(t *testing.T, names []string) *victim {
	t.Helper()
	v := &victim{ports: map[string]int{}, hits: map[string]bool{}}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		v.ports[name] = l.Addr().(*net.TCPAddr).Port
		v.serve(t, name, l)
		port := strconv.Itoa(v.ports[name])
		if six, err := net.Listen("tcp6", "[::1]:"+port); err == nil {
			v.serve(t, name, six)
		}
		c, err := net.ListenPacket("udp4", "127.0.0.1:"+port)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			for buf := make([]byte, 2000); ; v.hit(name) {
				if _, _, err := c.ReadFrom(buf); err != nil {
					return
				}
			}
		}()
	}
	return v
}

func (v *victim) serve(t *testing.T, name string, l net.Listener) {
	t.Helper()
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), // much of what comes is not HTTP
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			_, _ = io.WriteString(w, "secret of the victim")
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				v.hit(name)
			}
		},
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

func (v *victim) hit(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hits[name] = true
}

func (v *victim) has(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hits[name]
}

// all are the attempts that got through.
func (v *victim) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.hits))
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

// selfSigned is a certificate for a client to show, and its key, both as PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func (v *victim) targets(t *testing.T, app, other string) string {
	t.Helper()
	certificate, key := selfSigned(t)
	b, err := json.Marshal(map[string]any{"app": app, "other": other, "ports": v.ports, "certificate": certificate, "key": key})
	require.NoError(t, err)
	return string(b)
}
