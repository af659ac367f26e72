package gate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
)

// opening is how a session began: with the parameters of the calls that its client
// made first, one after the other, as far as a server can be asked for them before
// a client does. The first empty one ends it.
//
// Clients of a kind begin alike: scripts and test runners say hello, open a context
// with the same options each time, and a page in it. Nothing of what a client then
// does is in an opening.
type opening [3]string

const (
	sayHello    = iota // Root.initialize
	openContext        // Browser.newContext
	openPage           // BrowserContext.newPage
)

// steps are the calls of an opening.
var steps = [len(opening{})]struct {
	of     string // type of the object that is called
	method string
	guid   string // what the object's guid begins with
	makes  string // type of what it is for
}{
	sayHello:    {of: "Root", method: "initialize"},
	openContext: {of: "Browser", method: "newContext", guid: "browser@", makes: "BrowserContext"},
	openPage:    {of: "BrowserContext", method: "newPage", guid: "browser-context@", makes: "Page"},
}

// common is how both openings begin.
func (o opening) common(other opening) (both opening) {
	for i := range o {
		if o[i] == "" || o[i] != other[i] {
			break
		}
		both[i] = o[i]
	}
	return both
}

// before is the opening up to a step, without it.
func (o opening) before(step int) opening {
	clear(o[step:])
	return o
}

// avoid is the opening without what made another one fail, its last step.
func (o opening) avoid(failed opening) opening {
	if n := failed.steps(); n > 0 && o.before(n) == failed {
		return o.before(n - 1)
	}
	return o
}

// steps is how many it has.
func (o opening) steps() (n int) {
	for n < len(o) && o[n] != "" {
		n++
	}
	return n
}

// call is one of a client's.
type call struct {
	id, params   []byte
	guid, method string
}

// maxCall bounds what is taken for a call of an opening; those of stock clients have a few hundred bytes.
const maxCall = 4 << 10

// firstFrame reads the frame that a client's bytes begin with. size is 0 where more
// is to come. text is nil where it is no whole message of text.
func firstFrame(b []byte) (text []byte, control bool, size int) {
	const masked, control8 = 0x80, 0x8
	if len(b) < 2 {
		return nil, false, 0
	}
	start, length := 2, int(b[1]&0x7f)
	if b[1]&masked == 0 || length > 126 {
		return nil, false, len(b) // which no call of an opening is
	}
	if length == 126 {
		if len(b) < 4 {
			return nil, false, 0
		}
		start, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	start += 4 // the key
	switch size = start + length; {
	case size > maxCall:
		return nil, false, len(b)
	case size > len(b):
		return nil, false, 0
	}
	if b[0] != finalText {
		return nil, b[0]&control8 != 0, size
	}
	text = bytes.Clone(b[start:size])
	for i := range text {
		text[i] ^= b[start-4+i&3]
	}
	return text, false, size
}

// parseCall reads a message as a call that has what calls have and nothing else.
func parseCall(text []byte) (c call, ok bool) {
	fields, ok := object(text)
	if !ok {
		return call{}, false
	}
	for key, value := range fields {
		switch key {
		case "id":
			c.id = value
		case "guid":
			ok = ok && isText(value, &c.guid)
		case "method":
			ok = ok && isText(value, &c.method)
		case "params":
			c.params = value
		case "metadata":
		default:
			return call{}, false
		}
	}
	if !ok || fields["guid"] == nil || fields["params"] == nil || !isID(c.id) {
		return call{}, false
	}
	return c, true
}

// object reads a JSON object. Unlike the fields of a struct, its keys are what they
// are for the server: capitals count.
// None may come twice.
func object(text []byte) (fields map[string]json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	fields = map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		name, _ := key.(string)
		if _, twice := fields[name]; err != nil || twice {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		fields[name] = value
	}
	_, err := d.Token()
	return fields, err == nil && !d.More()
}

func isText(value []byte, text *string) bool {
	return len(value) > 0 && value[0] == '"' && json.Unmarshal(value, text) == nil
}

// isID tells an id of which the answer's text can be made as it is.
func isID(id []byte) bool {
	name := len(id) > 2 && id[0] == '"'
	if name {
		id = id[1 : len(id)-1]
	}
	for _, c := range id {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '@' || c == '-' || c == '_'
		if (c < '0' || c > '9') && (!name || !letter) {
			return false
		}
	}
	return len(id) > 0
}

// is tells whether a call is that step of an opening, and can be made in advance.
func (c call) is(step int) bool {
	s := steps[step]
	if c.method != s.method || !strings.HasPrefix(c.guid, s.guid) {
		return false
	}
	switch step {
	case sayHello:
		return c.guid == ""
	case openContext:
		return plainOptions(c.params)
	}
	return string(c.params) == "{}"
}

// plain are the options of a context that say nothing but how its pages look and
// behave. What a client has in a context, such as cookies, credentials, headers,
// certificates or a proxy, is its own: it is neither kept nor said in advance.
var plain = map[string]*regexp.Regexp{
	"noDefaultViewport": yesOrNo, "viewport": dimensions, "screen": dimensions, "deviceScaleFactor": number,
	"isMobile": yesOrNo, "hasTouch": yesOrNo, "javaScriptEnabled": yesOrNo, "bypassCSP": yesOrNo, "ignoreHTTPSErrors": yesOrNo,
	"strictSelectors": yesOrNo, "offline": yesOrNo, "acceptDownloads": word, "serviceWorkers": word, "colorScheme": word,
	"reducedMotion": word, "forcedColors": word, "contrast": word, "locale": word, "timezoneId": word, "testIdAttributeName": word,
	"selectorEngines": none,
}

var (
	yesOrNo    = regexp.MustCompile(`^(true|false)$`)
	number     = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,6})?$`)
	word       = regexp.MustCompile(`^"[A-Za-z0-9_/+-]{1,40}"$`)
	dimensions = regexp.MustCompile(`^\{"width":[0-9]{1,5},"height":[0-9]{1,5}\}$`)
	none       = regexp.MustCompile(`^\[\]$`)
)

func plainOptions(params []byte) bool {
	options, ok := object(params)
	for key, value := range options {
		pattern := plain[key]
		ok = ok && pattern != nil && pattern.Match(value)
	}
	return ok
}

// ear hears in what a client sends how its session begins.
type ear struct {
	said  opening
	step  int    // that is next
	heard []byte // of it
	deaf  bool   // nothing more is of interest
}

func (e *ear) hear(b []byte) {
	for !e.deaf {
		n := min(len(b), maxCall-len(e.heard))
		e.heard = append(e.heard, b[:n]...)
		b = b[n:]
		text, control, size := firstFrame(e.heard)
		switch {
		case size == 0:
			if e.deaf = len(e.heard) >= maxCall; !e.deaf {
				if len(e.heard) == 0 {
					e.heard = nil // an idle session keeps nothing
				}
				return
			}
		case !control || e.step == sayHello:
			c, ok := parseCall(text)
			if e.deaf = !ok || !c.is(e.step); !e.deaf {
				e.said[e.step] = string(c.params)
				e.step++
				e.deaf = e.step == len(e.said)
			}
		}
		e.heard = e.heard[size:]
	}
	e.heard = nil
}

// forget is for a client whose words are nothing to repeat.
func (e *ear) forget() { *e = ear{deaf: true} }
