package dial

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// asked is what a Playwright client asks for, as the edge reads it.
func asked() (state.Grant, Upgrade) {
	return state.Grant{Session: strings.Repeat("5", 32), Worker: "w-1", Endpoint: "10.0.0.12:4455", Attempt: 1}, Upgrade{
		Header: http.Header{
			"Host": {"pool:3000"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"AQIDBAUGBwgJCgsMDQ4PEA=="}, "Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
			"User-Agent": {"Playwright/1.56.1 (x64; debian 12) node/20.1"}, "X-Playwright-Browser": {"chromium"}, "X-Playwright-Proxy": {""},
			"X-Playwright-Launch-Options": {"{}"},
		},
		Proxy: "p-0123456789ab", Voucher: strings.Repeat("v", 26), Client: "10.0.0.1",
	}
}

func BenchmarkRequest(b *testing.B) {
	g, u := asked()
	b.ReportAllocs()
	for b.Loop() {
		_ = request(g, u)
	}
}

func BenchmarkAnswer(b *testing.B) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	from := strings.NewReader("")
	r := bufio.NewReaderSize(from, 4096)
	b.ReportAllocs()
	for b.Loop() {
		from.Reset(answer)
		r.Reset(from)
		_, status, err := readAnswer(r)
		if err != nil || status != http.StatusSwitchingProtocols {
			require.NoError(b, err)
		}
	}
}
