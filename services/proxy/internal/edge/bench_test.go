package edge

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkAsk is what the edge does with a request that nbio has read.
func BenchmarkAsk(b *testing.B) {
	r := &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, URL: &url.URL{Path: "/"}, Header: http.Header{
		"Host": {"pool:3000"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AQIDBAUGBwgJCgsMDQ4PEA=="}, "Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
		"User-Agent": {"Playwright/1.56.1 (x64; debian 12) node/20.1"}, "X-Playwright-Browser": {"chromium"}, "X-Playwright-Proxy": {""},
		"X-Playwright-Launch-Options": {"{}"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		trim(r.Header)
		if !isWebSocket(r) || !upgrades(r.Header) {
			b.Fatal("it is refused")
		}
		ask, err := parse(r, "chromium")
		if err != nil || ask.Demand.Playwright != "1.56" {
			require.NoError(b, err)
		}
	}
}

func BenchmarkVersion(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if versionOf("Playwright/1.56.1 (x64; debian 12) node/20.1") != "1.56" {
			b.Fatal("not found")
		}
	}
}
