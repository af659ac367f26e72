package gate

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// initialize is what a stock client says first.
func initialize(id, params string) string {
	return textFrame(fmt.Sprintf(`{"id":%s,"guid":"","method":"initialize","params":%s,"metadata":{"internal":true,"timeout":0}}`, id, params), true)
}

const (
	javascript = `{"sdkLanguage":"javascript","supportsLoneSurrogates":true}`
	python     = `{"sdkLanguage":"python"}`
)

// Calls that stock clients of the pinned version make next.
const (
	browserGUID = "browser@0a1b"
	contextGUID = "browser-context@2c3d"
	pageGUID    = "page@4e5f"
	options     = `{"noDefaultViewport":false,"selectorEngines":[]}`
)

func calls(id, guid, method, params string) string {
	return textFrame(fmt.Sprintf(`{"id":%s,"guid":%q,"method":%q,"params":%s,"metadata":{"location":{"file":"/a.mjs","line":6,"column":47},"internal":false,"timeout":0}}`,
		id, guid, method, params), true)
}

func newContext(id string) string { return calls(id, browserGUID, "newContext", options) }
func newPage(id string) string    { return calls(id, contextGUID, "newPage", "{}") }

// hears is what an ear makes of what a client says, in parts of some size.
func hears(t *testing.T, said string) opening {
	t.Helper()
	var all ear
	all.hear([]byte(said))
	for _, step := range []int{1, 7, 100, len(said)} {
		var e ear
		for rest := said; rest != ""; {
			n := min(step, len(rest))
			e.hear([]byte(rest[:n]))
			rest = rest[n:]
		}
		require.Equal(t, all.said, e.said, "by %d bytes", step)
		if e.deaf {
			require.Nil(t, e.heard, "nothing is kept")
		}
	}
	return all.said
}

func TestAHelloIsHeard(t *testing.T) {
	good := initialize(`"abcd@7"`, javascript)
	other := func(text string) string { return textFrame(text, true) }
	for name, c := range map[string]struct {
		said string
		want string
		id   string
	}{
		"with a name":         {good, javascript, `"abcd@7"`},
		"with a number":       {initialize("12", python), python, "12"},
		"in another order":    {other(`{"method":"initialize","metadata":{},"params":{"a":1},"guid":"","id":1}`), `{"a":1}`, "1"},
		"of another object":   {said: other(`{"id":1,"guid":"browser@1","method":"initialize","params":{},"metadata":{}}`)},
		"of no object":        {said: other(`{"id":1,"method":"initialize","params":{},"metadata":{}}`)},
		"of null":             {said: other(`{"id":1,"guid":null,"method":"initialize","params":{},"metadata":{}}`)},
		"another call":        {said: other(`{"id":1,"guid":"","method":"other","params":{},"metadata":{}}`)},
		"with more":           {said: other(`{"id":1,"guid":"","method":"initialize","params":{},"metadata":{},"more":1}`)},
		"in capitals, too":    {said: other(`{"id":1,"guid":"","method":"initialize","params":{},"metadata":{},"Params":{"a":1}}`)},
		"without an id":       {said: other(`{"guid":"","method":"initialize","params":{},"metadata":{}}`)},
		"without parameters":  {said: other(`{"id":1,"guid":"","method":"initialize","metadata":{}}`)},
		"with an empty id":    {said: initialize(`""`, python)},
		"with a strange id":   {said: initialize(`"a\"b"`, python)},
		"with a negative id":  {said: initialize(`-1`, python)},
		"with a listed id":    {said: initialize(`[1]`, python)},
		"no JSON":             {said: other(`hello`)},
		"null":                {said: other(`null`)},
		"too long":            {said: initialize("1", `{"a":"`+strings.Repeat("x", maxCall)+`"}`)},
		"far too long":        {said: string(frame(bytes.Repeat([]byte("x"), 1<<17), true))},
		"unmasked":            {said: textFrame(`{"id":1,"guid":"","method":"initialize","params":{}}`, false)},
		"a ping":              {said: "\x89\x80abcd"},
		"a close":             {said: "\x88\x80abcd"},
		"a part of a message": {said: "\x01" + good[1:]},
		"compressed":          {said: "\xc1" + good[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			text, _, size := firstFrame([]byte(c.said + "more"))
			require.Positive(t, size)
			require.Equal(t, opening{c.want}, hears(t, c.said+"more"))
			said, ok := parseCall(text)
			require.Equal(t, c.want != "", ok && said.is(sayHello))
			if c.want == "" {
				require.False(t, newAdvance(sayHello, "", "{}").suits(said) || newAdvance(sayHello, "", python).suits(said), "not one to answer")
				return
			}
			require.Equal(t, c.id, string(said.id))
			require.Equal(t, len(c.said), size)
			for i := range c.said {
				_, _, size := firstFrame([]byte(c.said[:i]))
				require.Zero(t, size, "whole after %d bytes", i)
			}
		})
	}
}

func TestAnOpeningIsHeard(t *testing.T) {
	const pong = "\x8a\x82abcdxy"
	hello := initialize("1", javascript)
	phone := `{"viewport":{"width":390,"height":664},"screen":{"width":390,"height":844},"deviceScaleFactor":3,"isMobile":true,"hasTouch":true,"locale":"de-DE","timezoneId":"Europe/Berlin","colorScheme":"dark"}`
	for name, c := range map[string]struct {
		said string
		want opening
	}{
		"whole":            {hello + newContext("2") + newPage("3") + "more", opening{javascript, options, "{}"}},
		"with pongs":       {hello + pong + newContext("2") + pong + newPage("3"), opening{javascript, options, "{}"}},
		"of a phone":       {hello + calls("2", browserGUID, "newContext", phone), opening{javascript, phone}},
		"no page yet":      {hello + newContext("2"), opening{javascript, options}},
		"another call":     {hello + newContext("2") + calls("3", contextGUID, "addInitScript", `{"source":""}`) + newPage("4"), opening{javascript, options}},
		"no context":       {hello + newPage("3"), opening{javascript}},
		"of another guid":  {hello + calls("2", "page@1", "newContext", options), opening{javascript}},
		"a page of what":   {hello + newContext("2") + calls("3", contextGUID, "newPage", `{"a":1}`), opening{javascript, options}},
		"nothing plain":    {hello + calls("2", browserGUID, "newContext", `[]`), opening{javascript}},
		"null":             {hello + calls("2", browserGUID, "newContext", `null`), opening{javascript}},
		"only the context": {newContext("2") + newPage("3"), opening{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, hears(t, c.said)) })
	}
	for _, own := range []string{
		`"userAgent":"token 1"`, `"extraHTTPHeaders":[]`, `"httpCredentials":[]`, `"storageState":{}`, `"proxy":{"server":"x"}`, `"clientCertificates":[]`,
		`"geolocation":{"longitude":1,"latitude":2}`, `"permissions":[]`, `"baseURL":"http://a"`, `"recordVideo":{}`, `"selectorEngines":[{"name":"a"}]`,
		`"Locale":"de"`, `"locale":"a b"`, `"locale":null`, `"viewport":{"width":1,"height":2,"more":3}`, `"viewport":{"width":100000,"height":2}`, `"deviceScaleFactor":1e9`,
	} {
		t.Run("not "+own, func(t *testing.T) { // I9
			require.Equal(t, opening{javascript}, hears(t, hello+calls("2", browserGUID, "newContext", `{"isMobile":true,`+own+`}`)+newPage("3")))
		})
	}
}

func TestOpeningsCompared(t *testing.T) {
	whole := opening{"a", "b", "c"}
	require.Equal(t, whole, whole.common(whole))
	require.Equal(t, opening{"a"}, whole.common(opening{"a", "x", "c"}))
	require.Equal(t, opening{"a", "b"}, whole.common(opening{"a", "b"}))
	require.Equal(t, opening{}, opening{"", "b"}.common(opening{"", "b"}))
	require.Equal(t, whole, whole.avoid(opening{}))
	require.Equal(t, opening{"a", "b"}, whole.avoid(whole))
	require.Equal(t, opening{"a"}, whole.avoid(opening{"a", "b"}))
	require.Equal(t, opening{}, whole.avoid(opening{"a"}))
	require.Equal(t, whole, whole.avoid(opening{"a", "x"}))
	require.Equal(t, opening{"a", "b"}, opening{"a", "b"}.avoid(whole))
}

func FuzzOpening(f *testing.F) {
	f.Add([]byte(initialize("1", javascript) + newContext("2") + newPage("3")))
	f.Add([]byte(initialize(`"a@1"`, python)))
	f.Add([]byte("\x81\xfe\x04\x01abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		said := hears(t, string(b))
		// What the gate makes of it is heard as the same again.
		guids := [...]string{"", browserGUID, contextGUID}
		var again []byte
		for step := range said.steps() {
			again = append(again, newAdvance(step, guids[step], said[step]).frame()...)
		}
		require.Equal(t, said, hears(t, string(again)))
		text, _, size := firstFrame(b)
		require.LessOrEqual(t, size, len(b))
		if size == 0 {
			require.Nil(t, text)
			require.Less(t, len(b), maxCall+1, "decided by then")
		}
	})
}

const (
	created = `{"guid":"","method":"__create__","params":{"type":"Playwright","initializer":{},"guid":"playwright"}}`
	result  = `,"result":{"playwright":{"guid":"playwright"}}}`
)

// welcomeTo is what a server says to a hello with that id.
func welcomeTo(id string) string {
	return textFrame(created, false) + textFrame(created, false) + textFrame(`{"id":`+id+result, false)
}

func TestAWelcomeIsReadWhole(t *testing.T) {
	in := bufio.NewReader(strings.NewReader(welcomeTo("1") + "more"))
	w := newAdvance(sayHello, "", javascript)
	require.NoError(t, w.hear(in))
	require.Equal(t, 4, in.Buffered())
	for _, id := range []string{"1", `"abcd@7"`, `"` + strings.Repeat("x", 200) + `"`} {
		require.Equal(t, welcomeTo(id), string(w.answer([]byte(id))))
	}
}

func TestAWelcomeThatIsNone(t *testing.T) {
	long := textFrame(`{"guid":"","method":"`+strings.Repeat("x", 1000)+`"}`, false)
	for name, said := range map[string]string{
		"an error":          textFrame(`{"id":1,"error":{}}`, false),
		"of another call":   textFrame(`{"id":12`+result, false),
		"nothing":           "",
		"half of it":        welcomeTo("1")[:200],
		"a close":           "\x88\x00",
		"a part":            "\x01\x02{}",
		"compressed":        "\xc1" + welcomeTo("1")[1:],
		"masked":            textFrame(`{"id":1`+result, true),
		"without an end":    strings.Repeat(long, 100),
		"a message too big": "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 1<<16),
		"a long result":     textFrame(`{"id":1,"result":{"a":"`+strings.Repeat("x", maxAnswer)+`"}}`, false),
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, newAdvance(sayHello, "", javascript).hear(bufio.NewReader(strings.NewReader(said))))
		})
	}
}
