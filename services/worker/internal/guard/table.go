package guard

import (
	"bytes"
	_ "embed"
	"maps"
	"strings"
)

//go:embed protocol.txt
var protocol string

// rule says what to do with one method.
type rule struct {
	name    string // Type.method
	refuse  string // why not, and what to use instead; empty for an allowed method
	watched []watch
	most    uint64 // bytes of a message
}

// watch is a parameter that decides whether an allowed method may run.
type watch struct {
	key   string
	depth int // of the key: 2 is a parameter of the method; arrays count; 0 is any
	// check returns what is wrong with a value that is a string; nil refuses the parameter
	// whatever its value.
	check func(value []byte) string
	why   string
	hide  bool   // the server must not see the parameter: its key is made one that the server does not know
	named bool   // refused of who numbers its calls, because files are named after them
	limit *limit // of a value that is a number
}

// url tells whether the value is judged by its scheme.
func (w *watch) url() bool { return w.key == "url" || w.key == "baseURL" || w.key == "origin" }

// kind is what a guid's beginning stands for: the methods of the types whose
// objects have such guids.
type kind map[string]*rule

// prefixes maps what stands before the @ of a guid to the types of the objects
// that the server makes with it. The two objects without an @ have fixed guids.
// Only the server makes guids, and a client's call reaches an object only by
// the whole of one.
var prefixes = map[string][]string{
	"":                {"Root"},
	"Playwright":      {"Playwright"},
	"browser":         {"Browser"},
	"browser-context": {"BrowserContext"},
	"page":            {"Page"},
	"frame":           {"Frame"},
	"handle":          {"JSHandle", "ElementHandle"},
	"worker":          {"Worker"},
	"dialog":          {"Dialog"},
	"request":         {"Request"},
	"response":        {"Response"},
	"route":           {"Route"},
	"ws":              {"WebSocket"},
	"webSocketRoute":  {"WebSocketRoute"},
	"artifact":        {"Artifact"},
	"tracing":         {"Tracing"},
	"request-context": {"APIRequestContext"},
	"stream":          {"Stream", "WritableStream"},
	"bindingCall":     {"BindingCall"},
	"disposable":      {"Disposable"},
	"debugger":        {"Debugger"},
	"cdp-session":     {"CDPSession"},
	// These refuse everything; they are here for the sake of the text.
	"browser-type":   {"BrowserType"},
	"electron":       {"Electron"},
	"electron-app":   {"ElectronApplication"},
	"android":        {"Android"},
	"android-device": {"AndroidDevice"},
	"socket":         {"AndroidSocket"},
	"jsonPipe":       {"JsonPipe"},
	"socksSupport":   {"SocksSupport"},
}

// Version is the major.minor of the Playwright whose protocol was reviewed.
func Version() string {
	_, rest, _ := strings.Cut(protocol, "\nversion ")
	version, _, _ := strings.Cut(rest, "\n")
	return version
}

// table is the reviewed protocol by guid, with what o asks for.
func table(o Options) map[string]kind {
	types := map[string]kind{}
	for line := range strings.SplitSeq(protocol, "\n") {
		name, rest, _ := strings.Cut(line, " ")
		typ, method, ok := strings.Cut(name, ".")
		_, verdict, reviewed := strings.Cut(rest, " ")
		if !ok || !reviewed || strings.HasPrefix(line, "#") || name == "version" {
			continue
		}
		r := &rule{name: name, watched: append(watched(name, o), measured(name)...), most: most(name)}
		if verdict != "allow" {
			r.refuse = strings.TrimPrefix(verdict, "refuse ")
		} else if o.CDP == CDPRefuse && (name == "BrowserContext.newCDPSession" || name == "CDPSession.send") {
			r.refuse = "This pool serves no CDP sessions (guard.cdp is refuse). Use Playwright's own calls instead."
		}
		if types[typ] == nil {
			types[typ] = kind{}
		}
		types[typ][method] = r
	}
	kinds := map[string]kind{}
	for prefix, names := range prefixes {
		k := kind{}
		for _, typ := range names {
			// Two types of one prefix share methods; none is refused in one and allowed in the other.
			maps.Copy(k, types[typ])
		}
		kinds[prefix] = k
	}
	return kinds
}

const (
	noPaths  = "The path would be on the machine of the browser. Send the files themselves, as a connected client does."
	numbered = "This client numbers its calls, and screens and ARIA snapshots of traces are files that are called as the calls are, those of other sessions among them. Take DOM snapshots, or page.screenshot()."
	noProxy  = "A proxy of the client's own would go around the pool's network guard. Leave proxy out, or have the pool's operator allow it (guard.client_proxy)."
)

// watched are the parameters that matter of an allowed method.
func watched(name string, o Options) []watch {
	url := watch{key: "url", depth: 2, check: badURL}
	// Of a state's origins alone, which the server opens: below them are records of the application's own.
	origin := watch{key: "origin", depth: 5, check: badURL}
	paths := []watch{{key: "localPaths", why: noPaths}, {key: "localDirectory", why: noPaths}}
	switch name {
	case "Frame.goto", "Route.continue", "Route.redirectNavigationRequest", "APIRequestContext.fetch":
		return []watch{url}
	case "BrowserContext.setStorageState":
		return []watch{origin}
	case "Browser.newContext":
		w := []watch{origin, {key: "baseURL", depth: 2, check: badURL}}
		if !o.ClientProxy {
			w = append(w, watch{key: "proxy", depth: 2, why: noProxy})
		}
		return w
	case "ElementHandle.setInputFiles", "Frame.setInputFiles", "Frame.drop":
		return paths
	case "BrowserContext.createTempFiles":
		return []watch{{key: "rootDirName", check: badPath}, {key: "name", check: badPath}}
	case "Tracing.tracingStart", "Tracing.tracingStartChunk":
		// The server makes names of files of it in a folder of all sessions, and never empties the files. Without one it makes
		// one up, and the client takes the answer's.
		return []watch{
			{key: "name", depth: 2, hide: true},
			{key: "snapshotScreen", depth: 2, named: true, why: numbered}, {key: "snapshotAria", depth: 2, named: true, why: numbered},
		}
	case "CDPSession.send":
		return []watch{{key: "method", depth: 2, check: badCDP}}
	}
	return nil
}

// served are the schemes of what a page may be. All others read the machine's
// disk, steer the browser, belong to extensions of it, or lead nowhere.
// Playwright itself puts http:// before the last, which is no scheme.
var served = map[string]bool{
	"http": true, "https": true, "ws": true, "wss": true, "data": true, "blob": true, "javascript": true, "localhost": true,
}

// badURL judges by the scheme, as a browser's parser finds it.
func badURL(u []byte) string {
	scheme := make([]byte, 0, 32)
	i := 0
	for i < len(u) && u[i] <= ' ' {
		i++
	}
	rest := u[i:]
	for n, c := range rest {
		if c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		if c == ':' {
			name := string(scheme)
			if served[name] || name == "about" && harmlessAbout(rest[n+1:]) {
				return ""
			}
			return "A page of this pool cannot open " + name + ": URLs, which belong to the machine of the browser. Serve the content over http, or use page.setContent()."
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (len(scheme) == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return "" // relative to a base, which was judged, or no URL
		}
		if len(scheme) == cap(scheme) {
			return "This is no address that a page of this pool can have."
		}
		scheme = append(scheme, c)
	}
	return ""
}

// harmlessAbout keeps about: URLs out that are names of the browser's own
// pages, some of which crash it.
func harmlessAbout(rest []byte) bool {
	page, _, _ := strings.Cut(string(rest), "#")
	page, _, _ = strings.Cut(page, "?")
	page = strings.ToLower(strings.TrimSpace(page))
	return page == "blank" || page == "srcdoc" || page == ""
}

// badPath keeps what a session uploads in the folder that the server makes for
// it, and that folder's files its own: the folder can be given to a page whole.
// A name that no file can have is an error that the server does not expect.
func badPath(path []byte) string {
	if bytes.HasPrefix(path, []byte("/")) || bytes.HasPrefix(path, []byte(`\`)) || bytes.IndexByte(path, 0) >= 0 {
		return badUpload
	}
	name := 0 // parts that are one
	for part := range bytes.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		switch {
		case string(part) == "..":
			return badUpload
		case len(part) > maxName:
			return "The name of an uploaded file or folder is too long: at most 255 bytes, of UTF-8, fit the machine of the browser. Rename it."
		case string(part) != ".":
			name++
		}
	}
	if name == 0 || bytes.HasSuffix(path, []byte("/")) || bytes.HasSuffix(path, []byte("/.")) || len(path) > maxPath {
		return badUpload
	}
	return ""
}

const (
	maxName   = 255
	maxPath   = 3 << 10
	badUpload = "An uploaded file or folder has a path that is none, or leads out of its own folder. Send names without .. and without a leading slash."
)
