package guard

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wire is what stands around a guard in these tests.
type wire struct {
	forwarded []byte
	answers   []string
	refused   []string
}

func (w *wire) Forward(b []byte) error { w.forwarded = append(w.forwarded, b...); return nil }
func (w *wire) Refused(method string)  { w.refused = append(w.refused, method) }
func (w *wire) Answer(frame []byte) error {
	n := 2
	if frame[1] == 126 {
		n = 4
	}
	w.answers = append(w.answers, string(frame[n:]))
	return nil
}

const (
	opText   = 0x81
	opFirst  = 0x01
	opCont   = 0x00
	opLast   = 0x80
	opPing   = 0x89
	opBinary = 0x82
)

func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := []byte{1, 0x80, 0xfe, 7}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

func join(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = append(b, f...)
	}
	return b
}

func newGuard(o Options) (*Guard, *wire) {
	w := &wire{}
	return New(o).Guard(w), w
}

var filter = Options{CDP: CDPFilter}

func call(id int, guid, method, params string) string {
	return fmt.Sprintf(`{"id":%d,"guid":%q,"method":%q,"params":%s,"metadata":{"internal":false}}`, id, guid, method, params)
}

// TestWhatGoesOnIsUntouched: allowed and refused messages, whole and in
// fragments, with pings between, arrive as they were sent, without the refused.
func TestWhatGoesOnIsUntouched(t *testing.T) {
	big := call(3, "page@1", "screenshot", `{"x":"`+strings.Repeat("a", 300_000)+`"}`)
	good := [][]byte{
		frame(opText, call(1, "page@1", "close", "{}")),
		frame(opPing, "hello"),
		join(frame(opFirst, `{"id":2,"guid":"fra`), frame(opPing, "mid"), frame(opCont, `me@1","method":"goto","par`), frame(opLast, `ams":{"url":"http://a/"},"metadata":{}}`)),
		frame(opText, big),
		frame(opText, `{"guid":"page@1","method":"__abort__","params":{"id":3}}`),
	}
	bad := frame(opText, call(7, "browser@1", "newBrowserCDPSession", "{}"))
	badInParts := join(frame(opFirst, `{"id":8,"guid":"bro`), frame(opPing, "kept"), frame(opLast, `wser@1","method":"startTracing","params":{}}`))
	late := frame(opText, call(9, "frame@1", "goto", `{"pad":"`+strings.Repeat("b", 100_000)+`","url":"file:///etc/passwd"}`))

	var in, want []byte
	for _, g := range good {
		in, want = join(in, bad, g, badInParts, late), join(want, g, frame(opPing, "kept"))
	}
	for seed := range uint64(8) {
		g, w := newGuard(filter)
		rnd := rand.New(rand.NewPCG(seed, 0))
		size := []int{20, 64 << 10, 3000, 300}[seed%4]
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(size))
			if err := g.Feed(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		require.Equal(t, string(want), string(w.forwarded))
		require.Len(t, w.answers, 15)
		require.LessOrEqual(t, cap(g.hold), 4*maxHold)
		for i, a := range w.answers {
			var got struct {
				ID    int
				Error struct {
					Error struct{ Message, Name string }
				}
			}
			require.NoError(t, json.Unmarshal([]byte(a), &got))
			require.Equal(t, 7+i%3, got.ID)
			require.Contains(t, got.Error.Error.Message, "The pool refuses ")
		}
	}
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		o    Options
		want string // method, or "" for allowed
	}{
		"root":                   {text: call(1, "", "initialize", `{"sdkLanguage":"javascript"}`)},
		"evaluate with url":      {text: call(1, "frame@1", "evaluateExpression", `{"expression":"x","arg":{"value":{"o":[{"k":"url","v":{"s":"file:///"}}]},"url":"file:///","handles":[]}}`)},
		"data":                   {text: call(1, "frame@1", "goto", `{"url":"data:text/html,`+strings.Repeat("x", 5000)+`"}`)},
		"about blank":            {text: call(1, "frame@1", "goto", `{"url":"about:blank#x"}`)},
		"relative":               {text: call(1, "frame@1", "goto", `{"url":"/a/b:c"}`)},
		"port":                   {text: call(1, "frame@1", "goto", `{"url":"localhost:8080"}`)},
		"file":                   {text: call(1, "frame@1", "goto", `{"url":"file:///etc/passwd"}`), want: "Frame.goto"},
		"file in capitals":       {text: call(1, "frame@1", "goto", `{"url":"FiLe:///etc/passwd"}`), want: "Frame.goto"},
		"file after white space": {text: call(1, "frame@1", "goto", `{"url":"\u0000 \tfi\nle:///etc/passwd"}`), want: "Frame.goto"},
		"file after a lot":       {text: call(1, "frame@1", "goto", `{"url":"`+strings.Repeat(" ", 5000)+`file:///"}`), want: "Frame.goto"},
		"file in a lot":          {text: call(1, "frame@1", "goto", `{"url":"f`+strings.Repeat(`\n`, 5000)+`ile:///"}`), want: "Frame.goto"},
		"file escaped":           {text: call(1, "frame@1", "goto", `{"\u0075rl":"\u0066ile:///"}`), want: "Frame.goto"},
		"first of two urls":      {text: call(1, "frame@1", "goto", `{"url":"file:///","url":"http://a/"}`), want: "Frame.goto"},
		"second of two urls":     {text: call(1, "frame@1", "goto", `{"url":"http://a/","url":"file:///"}`), want: "Frame.goto"},
		"chrome":                 {text: call(1, "frame@1", "goto", `{"url":"chrome://inducebrowsercrashforrealz"}`), want: "Frame.goto"},
		"address and port":       {text: call(1, "frame@1", "goto", `{"url":"127.0.0.1:8080/a"}`)},
		"script":                 {text: call(1, "frame@1", "goto", `{"url":"javascript:1"}`)},
		"long relative":          {text: call(1, "frame@1", "goto", `{"url":"/`+strings.Repeat("x", 50)+`:y"}`)},
		"unknown scheme":         {text: call(1, "frame@1", "goto", `{"url":"isolated-app://x"}`), want: "Frame.goto"},
		"long scheme":            {text: call(1, "frame@1", "goto", `{"url":"`+strings.Repeat("x", 50)+`:y"}`), want: "Frame.goto"},
		"about crash":            {text: call(1, "frame@1", "goto", `{"url":"about:inducebrowsercrashforrealz"}`), want: "Frame.goto"},
		"view-source":            {text: call(1, "frame@1", "goto", `{"url":"view-source:file:///"}`), want: "Frame.goto"},
		"base":                   {text: call(1, "browser@1", "newContext", `{"baseURL":"file:///etc/"}`), want: "Browser.newContext"},
		"origin":                 {text: call(1, "browser@1", "newContext", `{"storageState":{"origins":[{"origin":"chrome://quit"}]}}`), want: "Browser.newContext"},
		"proxy":                  {text: call(1, "browser@1", "newContext", `{"proxy":{"server":"x"}}`), want: "Browser.newContext"},
		"proxy allowed":          {text: call(1, "browser@1", "newContext", `{"proxy":{"server":"x"}}`), o: Options{CDP: CDPFilter, ClientProxy: true}},
		"state":                  {text: call(1, "browser-context@1", "setStorageState", `{"storageState":{"origins":[{"origin":"file:///"}]}}`), want: "BrowserContext.setStorageState"},
		"paths":                  {text: call(1, "frame@1", "setInputFiles", `{"selector":"a","localPaths":["/etc/passwd"]}`), want: "Frame.setInputFiles"},
		"directory":              {text: call(1, "handle@1", "setInputFiles", `{"localDirectory":"/etc"}`), want: "ElementHandle.setInputFiles"},
		"drop":                   {text: call(1, "frame@1", "drop", `{"selector":"a","localPaths":["/etc/passwd"]}`), want: "Frame.drop"},
		"upload":                 {text: call(1, "browser-context@1", "createTempFiles", `{"rootDirName":"a..b","items":[{"name":"c/d..e"},{"name":"..."}]}`)},
		"folder above":           {text: call(1, "browser-context@1", "createTempFiles", `{"rootDirName":"..","items":[]}`), want: "BrowserContext.createTempFiles"},
		"folder above a folder":  {text: call(1, "browser-context@1", "createTempFiles", `{"rootDirName":"a/\u002e./","items":[]}`), want: "BrowserContext.createTempFiles"},
		"file above":             {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"a"},{"name":"b\\..\\..\\c"}]}`), want: "BrowserContext.createTempFiles"},
		"file elsewhere":         {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"/etc/x"}]}`), want: "BrowserContext.createTempFiles"},
		"file without a name":    {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":""}]}`), want: "BrowserContext.createTempFiles"},
		"file that is a folder":  {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"./."}]}`), want: "BrowserContext.createTempFiles"},
		"file with a long name":  {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"a/`+strings.Repeat("x", 256)+`"}]}`), want: "BrowserContext.createTempFiles"},
		"file of a long folder":  {text: call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"`+strings.Repeat("xx/", 1100)+`a"}]}`), want: "BrowserContext.createTempFiles"},
		"cdp":                    {text: call(1, "cdp-session@1", "send", `{"method":"Emulation.setCPUThrottlingRate","params":{"rate":2,"method":"Browser.close"}}`)},
		"cdp of the browser":     {text: call(1, "cdp-session@1", "send", `{"method":"Browser.close"}`), want: "CDPSession.send"},
		"cdp twice":              {text: call(1, "cdp-session@1", "send", `{"method":"Page.enable","m\u0065thod":"Browser.close"}`), want: "CDPSession.send"},
		"cdp refused":            {text: call(1, "cdp-session@1", "send", `{"method":"Page.enable"}`), o: Options{CDP: CDPRefuse}, want: "CDPSession.send"},
		"unknown method":         {text: call(1, "page@1", "toString", `{}`), want: "unknown"},
		"method of another type": {text: call(1, "page@1", "newContext", `{}`), want: "unknown"},
		"unknown kind":           {text: call(1, "nobody@1", "close", `{}`), want: "unknown"},
		"kind without number":    {text: call(1, "page", "close", `{}`), want: "unknown"},
		"no params":              {text: `{"id":1,"guid":"browser@1","method":"killForTests"}`, want: "Browser.killForTests"},
		"escaped method":         {text: `{"id":1,"guid":"browser@1","method":"kil\u006cForTests","params":{}}`, want: "Browser.killForTests"},
		"text as id":             {text: `{"id":"1","guid":"browser@1","method":"killForTests"}`, want: "Browser.killForTests"},
		"method first":           {text: `{"method":"killForTests","metadata":{},"guid":"browser@1","params":{},"id":1}`, want: "Browser.killForTests"},
		"launch":                 {text: call(1, "browser-type@1", "launch", `{}`), want: "BrowserType.launch"},
		"save":                   {text: call(1, "artifact@1", "saveAs", `{"path":"/tmp/x"}`), want: "Artifact.saveAs"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.o.CDP == "" {
				c.o = filter
			}
			g, w := newGuard(c.o)
			in := frame(opText, c.text)
			require.NoError(t, g.Feed(in))
			if c.want == "" {
				require.Empty(t, w.refused)
				require.Equal(t, in, w.forwarded)
				return
			}
			require.Equal(t, []string{c.want}, w.refused)
			require.Empty(t, w.forwarded)
			require.Len(t, w.answers, 1)
			require.Contains(t, w.answers[0], `,"error":{"error"`)
		})
	}
}

// TestAmbiguousMessagesEndTheConnection, before the server has seen them whole.
func TestAmbiguousMessagesEndTheConnection(t *testing.T) {
	bare := `"guid":"page@1","method":"close","params":{}`
	ok := bare + `,"metadata":{}`
	for name, in := range map[string][]byte{
		"two methods":       frame(opText, `{"id":1,"guid":"page@1","method":"close","method":"x","params":{},"metadata":{}}`),
		"two, escaped":      frame(opText, `{"id":1,"guid":"page@1","method":"close","params":{},"metadata":{},"m\u0065thod":"x"}`),
		"two guids":         frame(opText, `{"id":1,`+ok+`,"guid":"browser@1"}`),
		"two ids":           frame(opText, `{"id":1,`+ok+`,"id":2}`),
		"two params":        frame(opText, `{"id":1,`+ok+`,"params":{}}`),
		"params first":      frame(opText, `{"id":1,"params":{},"guid":"page@1","method":"close","metadata":{}}`),
		"no guid":           frame(opText, `{"id":1,"method":"close","params":{},"metadata":{}}`),
		"no metadata":       frame(opText, `{"id":1,`+bare+`}`),
		"metadata is null":  frame(opText, `{"id":1,`+bare+`,"metadata":null}`),
		"metadata is text":  frame(opText, `{"id":1,`+bare+`,"metadata":"{}"}`),
		"metadata is list":  frame(opText, `{"id":1,"metadata":[],`+bare+`}`),
		"waits without it":  frame(opText, `{"id":1,"guid":"page@1","method":"__waitInfo__","params":{}}`),
		"aborts nothing":    frame(opText, `{"guid":"","method":"__abort__"}`),
		"array":             frame(opText, `[{"id":1,`+ok+`}]`),
		"string":            frame(opText, `"x"`),
		"number":            frame(opText, `1`),
		"empty":             frame(opText, ``),
		"behind it":         frame(opText, `{"id":1,`+ok+`}{}`),
		"comma":             frame(opText, `{"id":1,`+ok+`,}`),
		"byte order mark":   frame(opText, "\ufeff"+`{"id":1,`+ok+`}`),
		"comment":           frame(opText, `{/**/"id":1,`+ok+`}`),
		"single quotes":     frame(opText, `{'id':1,`+ok+`}`),
		"control character": frame(opText, "{\"id\":1,\"x\":\"\n\","+ok+`}`),
		"leading zero":      frame(opText, `{"id":01,`+ok+`}`),
		"fraction":          frame(opText, `{"id":1.0,`+ok+`}`),
		"NaN":               frame(opText, `{"id":1,"x":NaN,`+ok+`}`),
		"text as id":        frame(opText, `{"id":"../1",`+ok+`}`),
		"huge id":           frame(opText, `{"id":99999999999999999999,`+ok+`}`),
		"method no string":  frame(opText, `{"id":1,"guid":"page@1","method":["close"],"params":{},"metadata":{}}`),
		"depth":             frame(opText, `{"id":1,"guid":"page@1","method":"close","params":{"a":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`},"metadata":{}}`),
		"binary":            frame(opBinary, `{"id":1,`+ok+`}`),
		"compressed":        frame(opText|0x40, `{"id":1,`+ok+`}`),
		"not masked":        {0x81, 2, '{', '}', 0x81, 0},
		"mixed fragments":   join(frame(opFirst, `{"id":1,`), frame(opText, `{"id":1,`+ok+`}`)),
		"lone continuation": frame(opLast, `{"id":1,`+ok+`}`),
		"long without end":  frame(opText, `{"x":"`+strings.Repeat("x", 2*maxHold)+`","id":1,`+ok+`}`),
		"bad after much":    frame(opText, `{"id":1,"guid":"page@1","method":"close","params":{"x":"`+strings.Repeat("x", 2*maxHold)+`"},"metadata":{},"guid":"browser@1"}`),
		"file after much":   frame(opText, call(1, "frame@1", "goto", `{"x":"`+strings.Repeat("x", 2*maxHold)+`","url":"file:///"}`)),
		"pings in between":  join(frame(opFirst, `{"id":1,`), []byte(strings.Repeat(string(frame(opPing, strings.Repeat("p", 100))), 300))),
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{max(1, len(in)/5000), 1000, 64 << 10} {
				g, w := newGuard(filter)
				var err error
				for rest := in; len(rest) > 0 && err == nil; {
					n := min(size, len(rest))
					err = g.Feed(rest[:n])
					rest = rest[n:]
				}
				require.ErrorIs(t, err, ErrPolicy)
				require.Less(t, len(w.forwarded), len(in), "the server must not have the whole message")
			}
		})
	}
}

// TestNamesOfTracesStayHere: the server would make files of them, in a folder of all sessions.
func TestNamesOfTracesStayHere(t *testing.T) {
	const params = `{"name":"../x","title":"name","more":{"name":1},"name":{"name":2}}`
	want := strings.ReplaceAll(params, `"name":"../x"`, `"nam_":"../x"`)
	want = strings.ReplaceAll(want, `"name":{`, `"nam_":{`)
	for _, method := range []string{"tracingStart", "tracingStartChunk"} {
		in := join(frame(opText, call(1, "tracing@1", method, params)), frame(opText, call(2, "tracing@1", "tracingGroup", `{"name":"x"}`)))
		expected := join(frame(opText, call(1, "tracing@1", method, want)), frame(opText, call(2, "tracing@1", "tracingGroup", `{"name":"x"}`)))
		for size := 1; size <= len(in); size++ {
			g, w := newGuard(filter)
			feed(t, g, in, size)
			require.Equal(t, expected, w.forwarded, "in pieces of %d", size)
			require.Nil(t, g.place.plain, "it is the next one's")
			require.Nil(t, g.place.fed)
			require.Empty(t, w.refused)
		}
		// In fragments, with a ping between all of them.
		var parts, wanted []byte
		text, hidden := call(1, "tracing@1", method, params), call(1, "tracing@1", method, want)
		for i := range len(text) {
			first := byte(opCont)
			switch i {
			case 0:
				first = opFirst
			case len(text) - 1:
				first = opLast
			}
			parts = join(parts, frame(first, text[i:i+1]), frame(opPing, "p"))
			wanted = join(wanted, frame(first, hidden[i:i+1]), frame(opPing, "p"))
		}
		for _, size := range []int{1, 5, 100, len(parts)} {
			g, w := newGuard(filter)
			feed(t, g, parts, size)
			require.Equal(t, wanted, w.forwarded, "in fragments, and pieces of %d", size)
		}
		require.Equal(t, "Tracing."+method, verdict(t, filter, call(1, "tracing@1", method, `{"nam\u0065":"x"}`)))
		require.Empty(t, verdict(t, filter, call(1, "tracing@1", method, `{"n\u0061me":"x"}`)))
	}
}

// Pictures in traces are files that are named after calls, which several clients number from 1.
func TestPicturesOfTracesNeedNamedCalls(t *testing.T) {
	for _, key := range []string{"snapshotScreen", "snapshotAria"} {
		numbered := call(1, "tracing@1", "tracingStart", `{"`+key+`":true}`)
		require.Equal(t, "Tracing.tracingStart", verdict(t, filter, numbered))
		require.Empty(t, verdict(t, filter, strings.Replace(numbered, `"id":1`, `"id":"abcd@1"`, 1)))
	}
	require.Empty(t, verdict(t, filter, call(1, "tracing@1", "tracingStart", `{"snapshotDom":true}`)))
}

// A message whose beginning the server has already is not changed behind it.
func TestALateNameOfATraceEndsTheConnection(t *testing.T) {
	in := frame(opText, call(1, "tracing@1", "tracingStart", `{"pad":"`+strings.Repeat("x", maxHold)+`","name":"x"}`))
	for cut := len(in) - 60; cut < len(in); cut++ {
		g, w := newGuard(filter)
		err := g.Feed(bytes.Clone(in[:cut]))
		if err == nil {
			err = g.Feed(bytes.Clone(in[cut:]))
		}
		if err == nil {
			for i := 14; i < len(w.forwarded); i++ {
				w.forwarded[i] ^= in[10+(i-14)&3]
			}
			require.NotContains(t, string(w.forwarded), `"name"`, "cut at %d", cut)
			require.Contains(t, string(w.forwarded), `"nam_"`, "cut at %d", cut)
		} else {
			require.ErrorIs(t, err, ErrPolicy)
		}
	}
}

// feed feeds a copy in pieces of a size.
func feed(t *testing.T, g *Guard, in []byte, size int) {
	t.Helper()
	for rest := bytes.Clone(in); len(rest) > 0; {
		n := min(size, len(rest))
		require.NoError(t, g.Feed(rest[:n]))
		rest = rest[n:]
	}
}

func BenchmarkGuard(b *testing.B) {
	text := call(1234, "frame@0123456789abcdef0123456789abcdef", "evaluateExpression", `{"expression":"`+strings.Repeat("x", 60)+`","isFunction":true,"arg":{"value":{"v":"undefined"},"handles":[]}}`)
	in := frame(opText, text)
	g := New(filter).Guard(nowhere{})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Feed(in); err != nil {
			b.Fatal(err)
		}
	}
}

type nowhere struct{}

func (nowhere) Forward([]byte) error { return nil }
func (nowhere) Answer([]byte) error  { return nil }
func (nowhere) Refused(string)       {}
