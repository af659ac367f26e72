package compose_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// site serves pages to browsers in containers, at an address of this machine
// that they can reach.
type site struct {
	plain, tls string // host:port
}

func newSite(t *testing.T) site {
	t.Helper()
	subnet, err := netip.ParsePrefix(docker(t, "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"))
	require.NoError(t, err)
	host := subnet.Masked().Addr().Next().String() // this machine's, as Docker has it
	start := func(begin func(*httptest.Server)) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(serve))
		require.NoError(t, server.Listener.Close())
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		server.Listener = ln
		begin(server)
		t.Cleanup(server.Close)
		return ln.Addr().String()
	}
	return site{plain: start((*httptest.Server).Start), tls: start((*httptest.Server).StartTLS)}
}

func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/open" && r.Header.Get("Upgrade") != "":
		acceptWebSocket(w, r)
	case r.URL.Path == "/open":
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = io.WriteString(w, "open")
	case r.URL.Path == "/open.svg":
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	case strings.HasPrefix(r.Host, "example.com"), r.URL.Path == "/attack":
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<!doctype html><title>%s</title><script>%s</script>", harness.ExampleTitle, attack)
	default:
		http.NotFound(w, r)
	}
}

func acceptWebSocket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	_, _ = conn.Read(make([]byte, 1)) // until the page leaves
}

// browserArgs have a Chromium find the site under the name in the README's samples.
func (s site) browserArgs() string {
	return harness.List("--ignore-certificate-errors",
		"--host-resolver-rules=MAP example.com:80 "+s.plain+", MAP example.com:443 "+s.tls)
}

// attack is what a hostile page tries on an address, in all the ways that a
// page has: it returns what it got to see, nothing if all is well.
const attack = `
const patience = 4000;
const late = () => new Promise(done => setTimeout(done, patience, ''));
const tries = {
  fetch: async host => { const r = await fetch('http://' + host); return r.status + ' ' + await r.text(); },
  tls: async host => { const r = await fetch('https://' + host); return r.status + ' ' + await r.text(); },
  blind: async host => {
    const body = 'PING\r\nINFO\r\nAUTH default\r\n';
    const r = await fetch('http://' + host, { mode: 'no-cors', method: 'POST', body });
    return r.type === 'opaque' ? '' : await r.text();
  },
  socket: host => new Promise(done => {
    const socket = new WebSocket('ws://' + host);
    socket.onopen = () => done('a WebSocket opened');
    socket.onmessage = e => done(e.data);
    socket.onerror = () => done('');
  }),
  stream: host => new Promise(done => {
    const stream = new EventSource('http://' + host);
    stream.onmessage = e => done(e.data);
    stream.onopen = () => done('a stream opened');
    stream.onerror = () => { stream.close(); done(''); };
  }),
  image: host => new Promise(done => {
    const image = new Image();
    image.onload = () => done('an image of ' + image.width);
    image.onerror = () => done('');
    image.src = 'http://' + host;
  }),
  frame: host => new Promise(done => {
    const frame = document.createElement('iframe');
    frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch { done(''); } };
    frame.src = 'http://' + host;
    document.documentElement.append(frame);
  }),
};
async function attack(hosts) {
  const seen = [];
  await Promise.all(hosts.flatMap(host => Object.entries(tries).map(async ([name, attempt]) => {
    const got = await Promise.race([attempt(host).catch(() => ''), late()]);
    if (got) seen.push(name + ' of ' + host + ': ' + got.slice(0, 200));
  })));
  return seen.sort().join('\n');
}
`
