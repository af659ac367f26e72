package dial

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzHeaders holds that the client's headers are written as net/http would write
// them: nothing in a name or in a value makes another header.
func FuzzHeaders(f *testing.F) {
	for _, one := range [][2]string{
		{"User-Agent", "Playwright/1.56.1"}, {"X-Custom", "a\r\nx-pwdist-session: forged"}, {"X-Custom", " \t a \n"}, {"", "a"}, {"A B", "a"},
		{"A:B", "a"}, {"A\r\nB", "a"}, {"Ä", "ä"}, {"!#$%&'*+-.^_`|~09azAZ", "\r"}, {"X@Y[Z{", "\x00\x7f\xff"},
	} {
		f.Add(one[0], one[1], one[1]+"2")
	}
	g, u := asked()
	f.Fuzz(func(t *testing.T, name, value, second string) {
		u := u
		u.Header = http.Header{"B": {"b"}, name: {value, second}, "A": {"a"}, "Empty": nil}
		var want bytes.Buffer
		require.NoError(t, u.Header.Write(&want))
		start, rest, _ := strings.Cut(string(request(g, u)), "\r\n")
		host, rest, _ := strings.Cut(rest, "\r\n")
		require.Equal(t, "GET /session HTTP/1.1", start)
		require.Equal(t, "Host: "+g.Endpoint, host)
		got, ours, _ := strings.Cut(rest, "x-pwdist-session: "+g.Session+"\r\n")
		require.Equal(t, want.String(), got)
		require.Equal(t, "x-pwdist-attempt: 1\r\nx-pwdist-proxy: "+u.Proxy+"\r\nx-pwdist-voucher: "+u.Voucher+"\r\nx-pwdist-client: "+u.Client+"\r\n\r\n", ours)
	})
}

// Gates tell by the bytes whether two clients are of the same kind.
func TestLikeClientsSendTheSame(t *testing.T) {
	t.Parallel()
	g, u := asked()
	first := request(g, u)
	for range 50 {
		_, u := asked()
		for i := range 2 * fewHeaders { // also where there are many
			u.Header.Set("X-"+strings.Repeat("x", i+1), "more")
		}
		more := request(g, u)
		require.Equal(t, more, request(g, u))
		_, u = asked()
		require.Equal(t, first, request(g, u))
	}
}

func TestRequestIsOneAllocation(t *testing.T) {
	g, u := asked()
	u.Name, u.Labels, u.Token = "checkout", `{"team":"a"}`, "ci"
	var b []byte
	require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { b = request(g, u) }))
	require.NotEmpty(t, b)
}
