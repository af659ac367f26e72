package integration_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The call that no spelling may carry to the server, where it would be a CDP
// session of the whole browser. Each is sent with id 7.
const (
	evil   = `"method":"newBrowserCDPSession"`
	params = `"params":{},"metadata":{}`
)

// spellings are ways to write or send the call to the browser of this guid, as
// bytes on the wire.
func spellings(guid string) map[string][]byte {
	text := func(s string) []byte {
		return harness.Frame(harness.Final|harness.OpText, strings.ReplaceAll(s, "GUID", guid))
	}
	plain := `{"id":7,"guid":"` + guid + `",` + evil + `,` + params + `}`
	pieces := func(s string, size int, between []byte) (b []byte) {
		first := byte(harness.OpText)
		for ; len(s) > size; s, first = s[size:], harness.OpContinuation {
			b = append(append(b, harness.Frame(first, s[:size])...), between...)
		}
		return append(b, harness.Frame(harness.Final|first, s)...)
	}
	long := text(plain) // with the length in more bytes than it takes
	long = append(binary.BigEndian.AppendUint64([]byte{long[0], 0x80 | 127}, uint64(len(plain))), long[len(long)-len(plain)-4:]...)
	unmasked := append([]byte{harness.Final | harness.OpText, byte(len(plain))}, plain...)
	m := map[string][]byte{
		"one byte a frame":              pieces(plain, 1, nil),
		"pings between the frames":      pieces(plain, 9, harness.Frame(harness.Final|harness.OpPing, plain)),
		"empty frames between":          pieces(plain, 9, harness.Frame(harness.OpContinuation, "")),
		"a long length":                 long,
		"not masked":                    unmasked,
		"binary":                        harness.Frame(harness.Final|harness.OpBinary, plain),
		"compressed":                    harness.Frame(harness.Final|harness.Compressed|harness.OpText, harness.Deflate(plain)),
		"compressed in frames":          append(harness.Frame(harness.Compressed|harness.OpText, harness.Deflate(plain)[:20]), harness.Frame(harness.Final, harness.Deflate(plain)[20:])...),
		"compressed in the second":      append(harness.Frame(harness.OpText, plain[:20]), harness.Frame(harness.Final|harness.Compressed, plain[20:])...),
		"another message inside":        append(harness.Frame(harness.OpText, plain[:20]), text(plain)...),
		"a continuation of nothing":     harness.Frame(harness.Final|harness.OpContinuation, plain),
		"reserved kind":                 harness.Frame(harness.Final|3, plain),
		"behind a close":                append(harness.Frame(harness.Final|harness.OpClose, "\x03\xe8"), text(plain)...),
		"between two that are allowed":  bytes.Join([][]byte{text(harness.Call(5, "GUID", "defaultUserAgentForTest", "{}")), text(plain), text(harness.Call(6, "GUID", "defaultUserAgentForTest", "{}"))}, nil),
		"a hundred at once":             bytes.Repeat(text(plain), 100),
		"behind two megabytes":          append(text(harness.Call(5, "GUID", "close", `{"reason":`+`"`+strings.Repeat("x", 2<<20)+`"}`)), text(plain)...),
		"method behind two megabytes":   text(`{"id":7,"guid":"GUID","x":"` + strings.Repeat("x", 2<<20) + `",` + evil + `,` + params + `}`),
		"two megabytes behind method":   text(`{"id":7,"guid":"GUID",` + evil + `,"params":{"x":"` + strings.Repeat("x", 2<<20) + `"}}`),
		"overruled behind two megabyte": text(`{"id":7,"guid":"GUID","method":"close","params":{"reason":"` + strings.Repeat("x", 2<<20) + `"},` + evil + `}`),
	}
	for name, s := range map[string]string{
		"plain":                   plain,
		"no params":               `{"id":7,"guid":"GUID",` + evil + `}`,
		"another order":           `{"metadata":{},` + evil + `,"guid":"GUID","params":{},"id":7}`,
		"params first":            `{"params":{},"id":7,"guid":"GUID",` + evil + `}`,
		"blanks":                  " \t\r\n{ \"id\" : 7 , \"guid\"\n:\"GUID\" , \"method\"\t: \"newBrowserCDPSession\" , \"params\" : { } } \n",
		"escaped value":           `{"id":7,"guid":"GUID","method":"new\u0042rowser\u0043DPSession",` + params + `}`,
		"escaped key":             `{"id":7,"guid":"GUID","\u006d\u0065thod":"newBrowserCDPSession",` + params + `}`,
		"escaped guid":            `{"id":7,"gu\u0069d":"\u0062` + guid[1:] + `",` + evil + `,` + params + `}`,
		"all escaped":             `{"\u0069\u0064":7,"\u0067\u0075\u0069\u0064":"GUID","\u006d\u0065\u0074\u0068\u006f\u0064":"\u006eewBrowserCDPSessio\u006E",` + params + `}`,
		"method twice":            `{"id":7,"guid":"GUID","method":"close",` + evil + `,` + params + `}`,
		"method twice, turned":    `{"id":7,"guid":"GUID",` + evil + `,"method":"close",` + params + `}`,
		"method twice, behind":    `{"id":7,"guid":"GUID","method":"close",` + params + `,` + evil + `}`,
		"method twice, escaped":   `{"id":7,"guid":"GUID","method":"close",` + params + `,"metho\u0064":"newBrowserCDPSession"}`,
		"guid twice":              `{"id":7,"guid":"page@1",` + evil + `,` + params + `,"guid":"GUID"}`,
		"params twice":            `{"id":7,"guid":"GUID",` + evil + `,` + params + `,"params":{}}`,
		"other capitals":          `{"id":7,"guid":"GUID","Method":"close",` + evil + `,` + params + `}`,
		"inherited":               `{"id":7,"guid":"GUID","method":"close","__proto__":{` + evil + `},` + evil + `,` + params + `}`,
		"byte order mark":         "\ufeff" + plain,
		"byte order mark, inside": "{\ufeff" + plain[1:],
		"broken character in key": `{"id":7,"guid":"GUID","method` + "\xff" + `":"close",` + evil + `,` + params + `}`,
		"broken character":        `{"id":7,"guid":"GUID",` + evil + `,"params":{"x":"` + "\xc3\x28" + `"}}`,
		"lone surrogate":          `{"id":7,"guid":"GUID",` + evil + `,"params":{"x":"\ud800"},"\udc00":1}`,
		"zero byte":               plain + "\x00",
		"zero byte in front":      "\x00" + plain,
		"comment":                 `{/*"*/` + plain[1:],
		"trailing comma":          `{"id":7,"guid":"GUID",` + evil + `,"params":{},}`,
		"behind another":          `{}` + plain,
		"list":                    `[` + plain + `]`,
		"text of text":            `"{\"id\":7,\"guid\":\"GUID\",\"method\":\"newBrowserCDPSession\",\"params\":{}}"`,
		"huge number":             `{"id":7,"guid":"GUID","x":1e999999,` + evil + `,` + params + `}`,
		"long number":             `{"id":7,"guid":"GUID","x":` + strings.Repeat("9", 100_000) + `,` + evil + `,` + params + `}`,
		"id in another form":      `{"id":7e0,"guid":"GUID",` + evil + `,` + params + `}`,
		"huge id":                 `{"id":7000000000000000000000,"guid":"GUID",` + evil + `,` + params + `}`,
		"negative id":             `{"id":-7,"guid":"GUID",` + evil + `,` + params + `}`,
		"id that is a path":       `{"id":"../../7","guid":"GUID",` + evil + `,` + params + `}`,
		"id that is a list":       `{"id":[7],"guid":"GUID",` + evil + `,` + params + `}`,
		"method that is a list":   `{"id":7,"guid":"GUID","method":["newBrowserCDPSession"],` + params + `}`,
		"guid that is a list":     `{"id":7,"guid":["GUID"],` + evil + `,` + params + `}`,
		"deep":                    `{"id":7,"guid":"GUID",` + evil + `,"params":{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`,
		"deep before":             `{"id":7,"guid":"GUID","x":` + strings.Repeat(`{"a":`, 50_000) + `1` + strings.Repeat("}", 50_000) + `,` + evil + `,` + params + `}`,
		// These two are errors that the server does not expect.
		"a call without metadata": `{"id":7,"guid":"GUID","method":"defaultUserAgentForTest","params":{}}`,
		"an end of nothing":       `{"guid":"GUID","method":"__abort__"}`,
		"a call in a call":        `{"id":7,"guid":"GUID","method":{` + evil + `},` + params + `}`,
	} {
		m[name] = text(s)
	}
	return m
}

// No spelling, fragmentation or compression carries a refused call to the
// server: each is answered by the guard, and the session goes on, or it ends
// the session that sent it, and no other (I9).
func TestNoSpellingPassesTheGuard(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "4", "lifetime.sessions": "0"}})
	victim := harness.Connect(t, p.URL("name=victim")).OpenPage(t, "http://example.com/")
	answered := 0
	first, guid := rawSession(t, p, false)
	require.NoError(t, first.Close())
	for name, wire := range spellings(guid) {
		t.Run(name, func(t *testing.T) {
			c, same := rawSession(t, p, false)
			require.Equal(t, guid, same)
			_, err := c.Write(wire)
			require.NoError(t, err) // it is less than the buffers on the way take, or it is read
			answer, before := c.AwaitCall(t, 7)
			require.NotContains(t, strings.Join(before, "\n"), `"CDPSession"`)
			if answer.Ended {
				require.Equal(t, 1008, answer.Code, answer.Reason)
				return
			}
			answered++
			require.Contains(t, answer.Text, "The pool refuses Browser.newBrowserCDPSession")
			if name == "behind a close" {
				return
			}
			_, err = c.Write(harness.Frame(harness.Final|harness.OpText, harness.Call(8, guid, "defaultUserAgentForTest", "{}")))
			require.NoError(t, err)
			answer, before = c.AwaitCall(t, 8)
			require.NotContains(t, strings.Join(before, "\n"), `"CDPSession"`)
			require.Contains(t, answer.Text, "userAgent")
		})
	}
	require.Greater(t, answered, 10)
	title, err := victim.Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
}

// An error that the Playwright server does not expect ends no session but, at
// most, the one whose message it was, also where no guard keeps such messages
// away.
func TestServerSurvivesItsErrors(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"guard.enabled": "false"}})
	victim := harness.Connect(t, p.URL("name=victim"))
	page := victim.OpenPage(t, "http://example.com/")
	for name, message := range map[string]string{
		"no metadata": `{"id":7,"guid":"","method":"initialize","params":{"sdkLanguage":"javascript"}}`,
		"no params":   `{"guid":"","method":"__abort__"}`,
	} {
		t.Run(name, func(t *testing.T) {
			survived := func() int { return strings.Count(p.Workers[0].Process().Output(), "goes on after an error") }
			before := survived()
			c, _ := rawSession(t, p, true)
			_, err := c.Write(harness.Frame(harness.Final|harness.OpText, message))
			require.NoError(t, err)
			harness.Await(t, "the error is noticed", func() bool { return survived() > before })
			require.True(t, victim.Connected())
			title, err := page.Title()
			require.NoError(t, err)
			require.Equal(t, harness.ExampleTitle, title)
		})
	}
}

// rawSession opens a session without a client library, with compression offered
// as all of them offer it and agreed or not, and returns the guid of its browser.
func rawSession(t *testing.T, p *harness.Pool, compressed bool) (*harness.Raw, string) {
	t.Helper()
	c := harness.Upgrade(t, p.Proxy().Address, "/?name=raw", "1.65.1", harness.Headers{"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"})
	t.Cleanup(func() { _ = c.Close() })
	answer := c.Answer(t)
	require.Equal(t, http.StatusSwitchingProtocols, answer.Status)
	require.Equal(t, compressed, answer.Header.Get("Sec-WebSocket-Extensions") != "", "compression is agreed where nobody reads the messages, and only there")
	_, err := c.Write(harness.Frame(harness.Final|harness.OpText, harness.Call(1, "", "initialize", `{"sdkLanguage":"javascript"}`)))
	require.NoError(t, err)
	_, made := c.AwaitCall(t, 1)
	guid := regexp.MustCompile(`browser@\w+`).FindString(strings.Join(made, "\n"))
	require.NotEmpty(t, guid)
	return c, guid
}
