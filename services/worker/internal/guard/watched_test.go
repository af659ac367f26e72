package guard

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdict is the method that o refuses in text; "" = none.
func verdict(t *testing.T, o Options, text string) string {
	t.Helper()
	g, w := newGuard(o)
	require.NoError(t, g.Feed(frame(opText, text)))
	if len(w.refused) == 0 {
		return ""
	}
	require.Empty(t, w.forwarded)
	return w.refused[0]
}

// Each call that opens an address refuses each scheme that is not served.
func TestSchemesOfAllCallsThatOpenAddresses(t *testing.T) {
	for _, c := range []struct{ guid, method, name string }{
		{"frame@1", "goto", "Frame.goto"},
		{"route@1", "continue", "Route.continue"},
		{"route@1", "redirectNavigationRequest", "Route.redirectNavigationRequest"},
		{"request-context@1", "fetch", "APIRequestContext.fetch"},
	} {
		require.Empty(t, verdict(t, filter, call(1, c.guid, c.method, `{"url":"https://example.com/"}`)), c.name)
		for _, url := range []string{
			"file:///etc/passwd", "filesystem:http://a/temporary/x", "view-source:http://a/", "chrome://version", "chrome-extension://x/y",
			"chrome-untrusted://x", "devtools://devtools/x", "ftp://a/", "intent://x", "mailto:a@b", "resource://x", "about:version", "about:config",
			"chrome-error://x", "web+x://a", "a.b:c", "x1:a", `fi\tle:///`, `fi\rle:///`, `fi\nle:///`, `\tfile:///`, "about:blank/x", "about:blan", "about:version#about:blank",
		} {
			require.Equal(t, c.name, verdict(t, filter, call(1, c.guid, c.method, `{"url":"`+url+`"}`)), url)
		}
	}
}

// Pages are what these schemes serve, and nothing else.
func TestServedSchemes(t *testing.T) {
	want := map[string]bool{}
	for scheme := range strings.FieldsSeq("http https ws wss data blob javascript localhost") {
		want[scheme] = true
	}
	require.Equal(t, want, served, "judge what the browser makes of it, then name it here as well")
	long := strings.Repeat("x", 5000)
	for _, text := range []string{
		call(1, "frame@1", "goto", `{"url":"about:BLANK"}`), call(1, "frame@1", "goto", `{"url":"about:blank?x"}`), call(1, "frame@1", "goto", `{"url":"about:blank "}`),
		call(1, "frame@1", "goto", `{"url":"about:srcdoc#x"}`), call(1, "frame@1", "goto", `{"url":"HTTPS://a/"}`),
		call(1, "browser@1", "newContext", `{"baseURL":"http://a/`+long+`"}`),
		call(1, "browser-context@1", "setStorageState", `{"storageState":{"origins":[{"origin":"http://a/`+long+`"}]}}`),
		call(1, "frame@1", "goto", `{"url":"http://a/","of":{"url":"file:///"}}`), // of something else
	} {
		require.Empty(t, verdict(t, filter, text), text)
	}
}

// What an application has stored is its own business, whatever it calls it.
func TestRecordsOfAStorageStateAreNotJudged(t *testing.T) {
	state := func(origin, value string) string {
		return `{"storageState":{"cookies":[],"origins":[{"indexedDB":[{"name":"db","version":1,"stores":[{"name":"s","records":[{"value":` + value +
			`}],"indexes":[]}]}],"localStorage":[{"name":"origin","value":"file:///"}],"origin":"` + origin + `"}]}}`
	}
	for _, c := range []struct{ guid, method, name string }{
		{"browser@1", "newContext", "Browser.newContext"},
		{"browser-context@1", "setStorageState", "BrowserContext.setStorageState"},
	} {
		for _, value := range []string{
			`{"origin":"import:csv"}`, `{"a":[{"origin":"file:///"}]}`, `{"origin":"` + strings.Repeat(`line\n`, 2000) + `"}`,
		} {
			require.Empty(t, verdict(t, filter, call(1, c.guid, c.method, state("https://example.com", value))), value[:20])
			require.Equal(t, c.name, verdict(t, filter, call(1, c.guid, c.method, state("file:///", value))), value[:20])
		}
	}
}

// Uploads stay in their folder, however a name leads out of it.
func TestNamesOfUploadsAreBelowTheirFolder(t *testing.T) {
	for _, name := range []string{`/x`, `\\x`, `a/../../b`, `a\u0000b`, `..`} {
		require.Equal(t, "BrowserContext.createTempFiles", verdict(t, filter, call(1, "browser-context@1", "createTempFiles", `{"items":[{"name":"`+name+`"}]}`)), name)
		require.Equal(t, "BrowserContext.createTempFiles", verdict(t, filter, call(1, "browser-context@1", "createTempFiles", `{"rootDirName":"`+name+`","items":[]}`)), name)
	}
}

// Where CDP is refused, so is the session for it.
func TestNoCDPSessionIsMadeWhereItIsRefused(t *testing.T) {
	text := call(1, "browser-context@1", "newCDPSession", `{"page":{"guid":"page@1"}}`)
	require.Empty(t, verdict(t, filter, text))
	require.Equal(t, "BrowserContext.newCDPSession", verdict(t, Options{CDP: CDPRefuse}, text))
}

// What reaches beyond a session stays refused, whoever edits the table: a verdict
// that turns into allow has to be changed here as well.
func TestWhatReachesBeyondASessionIsRefused(t *testing.T) {
	types := "Android AndroidDevice AndroidSocket BrowserType DebugController Electron ElectronApplication JsonPipe LocalUtils SocksSupport"
	methods := "Artifact.pathAfterFinished Artifact.saveAs Browser.disconnectFromReusedContext Browser.killForTests Browser.newBrowserCDPSession " +
		"Browser.newContextForReuse Browser.startServer Browser.startTracing Browser.stopServer Browser.stopTracing BrowserContext.showRecorder " +
		"BrowserContext.startRecording Page.setDockTile Playwright.newRequest"
	missing := map[string]bool{}
	for name := range strings.FieldsSeq(types + " " + methods) {
		missing[name] = true
	}
	for line := range strings.Lines(protocol) {
		name, rest, _ := strings.Cut(line, " ")
		typ, _, ok := strings.Cut(name, ".")
		_, verdict, reviewed := strings.Cut(rest, " ")
		if !ok || !reviewed || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.Contains(" "+types+" ", " "+typ+" ") || missing[name] {
			require.True(t, strings.HasPrefix(verdict, "refuse "), line)
			delete(missing, name)
			delete(missing, typ)
		}
	}
	require.Empty(t, missing, "the table does not have them")
}
