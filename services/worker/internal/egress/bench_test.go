package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// What the way through the proxy costs, beside the direct one: small requests
// one after the other over kept connections, and a big body. Client, proxy and
// server are one process here.
func BenchmarkEgress(b *testing.B) {
	const small, big = 1 << 10, 64 << 20
	block := make([]byte, 64<<10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := small
		if r.URL.Path == "/big" {
			n = big
		}
		for n > 0 {
			sent, err := w.Write(block[:min(n, len(block))])
			if err != nil {
				return
			}
			n -= sent
		}
	})
	plain, tls := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	b.Cleanup(plain.Close)
	b.Cleanup(tls.Close)
	r := newRig(b, Options{Allow: []string{"127.0.0.1"}})
	for _, way := range []string{"direct", "guarded"} {
		for scheme, server := range map[string]*httptest.Server{"http": plain, "https": tls} {
			client := r.newClient()
			transport := client.Transport.(*http.Transport)
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
			if way == "direct" {
				transport.Proxy = nil
			}
			for _, size := range []string{"small", "big"} {
				b.Run(scheme+"/"+size+"/"+way, func(b *testing.B) {
					if size == "big" {
						b.SetBytes(big)
					}
					for b.Loop() {
						resp, err := client.Get(server.URL + "/" + size)
						if err != nil {
							b.Fatal(err)
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				})
			}
		}
	}
}
