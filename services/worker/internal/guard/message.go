package guard

import "bytes"

// The keys of a message that matter to the server.
const (
	keyOther = 1 << iota
	keyID
	keyGUID
	keyMethod
	keyParams
	keyMetadata
)

// message is what is known of the message that is being read.
type message struct {
	kinds map[string]kind

	broken  string // why the connection has to end
	refused string // why the call is refused
	name    string // of a refused method
	rule    *rule
	decided bool
	id      []byte // as JSON; empty when there is none

	current uint8 // the key whose value is being read
	seen    uint8
	length  uint64 // in bytes, of the frames that have begun
	kind    kind
	known   bool // the guid is of a kind that is known
	method  []byte
	pending *watch
	limit   *limit // of the number that is being read
	number  []byte
	size    size
	scale   float64                  // the largest that the session has asked for
	engines uint64                   // bytes of its selector engines
	hide    func(name string) string // makes the key that has just been read another one
}

func (m *message) reset() {
	*m = message{kinds: m.kinds, method: m.method[:0], id: m.id[:0], number: m.number[:0], scale: m.scale, engines: m.engines, hide: m.hide}
}

func (m *message) breach(why string) {
	if m.broken == "" {
		m.broken = why
	}
}

func (m *message) key(depth int, name []byte, whole bool) {
	m.pending = nil
	if depth == 1 {
		m.top(name)
		return
	}
	if m.current != keyParams || m.rule == nil || !whole {
		return
	}
	for i := range m.rule.watched {
		w := &m.rule.watched[i]
		if string(name) != w.key || w.depth != 0 && w.depth != depth {
			continue
		}
		switch {
		case w.hide:
			if why := m.hide(w.key); why != "" {
				m.refuse(why)
			}
			return
		case w.named:
			if len(m.id) == 0 || m.id[0] != '"' {
				m.refuse(w.why)
			}
			return
		case w.check == nil && w.limit == nil:
			m.refuse(w.why)
			return
		}
		m.pending = w
	}
}

func (m *message) top(name []byte) {
	m.current = keyOther
	switch string(name) {
	case "id":
		m.current = keyID
	case "guid":
		m.current = keyGUID
	case "method":
		m.current = keyMethod
	case "params":
		m.current = keyParams
	case "metadata":
		m.current = keyMetadata
	}
	// The server takes the last of several. Whoever writes two wants to be read
	// in two ways.
	if m.current != keyOther && m.seen&m.current != 0 {
		m.breach("the message has a key twice")
	}
	m.seen |= m.current
}

func (m *message) wantsString(depth int) bool {
	switch {
	case depth == 0:
		m.breach("the message is no object")
	case depth > 1:
		return m.pending != nil && m.pending.limit == nil // the server takes no string for a number
	case m.current == keyGUID || m.current == keyMethod || m.current == keyID:
		return true
	case m.current == keyParams:
		m.breach("params is no object")
	case m.current == keyMetadata:
		m.breach("metadata is no object")
	}
	return false
}

func (m *message) str(depth int, value []byte, whole bool) {
	if depth > 1 {
		w := m.pending
		m.pending = nil
		// A scheme stands at the beginning, unless something was put there to hide it.
		if !whole && (!w.url() || bytes.ContainsAny(value, "\t\r\n") || value[0] <= ' ') {
			m.refuse("The value of " + w.key + " is too long.")
			return
		}
		if why := w.check(value); why != "" {
			m.refuse(why)
		}
		return
	}
	switch m.current {
	case keyID:
		if len(value) == 0 || len(value) > 64 || !plainID(value) {
			m.breach("id is neither a number nor a short name")
			return
		}
		m.id = append(append(append(m.id, '"'), value...), '"')
	case keyGUID:
		prefix, _, at := bytes.Cut(value, []byte("@"))
		m.kind, m.known = m.kinds[string(prefix)]
		m.known = m.known && whole && (at || len(value) == 0 || string(value) == "Playwright")
	case keyMethod:
		m.method = append(m.method[:0], value...)
	}
}

func (m *message) begin(depth int, first byte) {
	if m.pending != nil && first != '{' && first != '[' {
		m.limit, m.number = m.pending.limit, m.number[:0]
	}
	m.pending = nil
	if depth == 0 && first != '{' {
		m.breach("the message is no object")
	}
	if depth != 1 {
		return
	}
	switch m.current {
	case keyGUID, keyMethod:
		m.breach("guid or method is no string")
	case keyID:
		if first < '0' || first > '9' {
			m.breach("id is neither a number nor a short name")
		}
	case keyParams:
		if first != '{' {
			m.breach("params is no object")
		}
		m.decide()
	case keyMetadata:
		if first != '{' {
			m.breach("metadata is no object")
		}
	}
}

func (m *message) digit(depth int, c byte) {
	if m.limit != nil && len(m.number) <= maxNumber {
		m.number = append(m.number, c)
	}
	if depth != 1 || m.current != keyID {
		return
	}
	if c < '0' || c > '9' || len(m.id) > 15 {
		m.breach("id is no integer")
		return
	}
	m.id = append(m.id, c)
}

// plainID tells whether a call's name is safe wherever the server writes it,
// names of files among them.
func plainID(id []byte) bool {
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '@' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func (m *message) item(int) {
	m.pending = nil
	if m.limit == nil {
		return
	}
	if len(m.number) > 0 { // else it is null, true or false
		if why := m.size.take(m.limit, m.number, m.scale); why != "" {
			m.refuse(why)
		}
	}
	m.limit = nil
}

// decide judges the method, as soon as params begin or the message ends.
func (m *message) decide() {
	if m.decided {
		return
	}
	m.decided = true
	if m.seen&(keyGUID|keyMethod) != keyGUID|keyMethod {
		m.breach("guid and method do not come before params")
		return
	}
	switch string(m.method) {
	case "__waitInfo__", "__abort__": // about calls of this connection
		return
	}
	if m.known {
		m.rule = m.kind[string(m.method)]
	}
	switch {
	case m.rule == nil:
		m.refused, m.name = "It is no method of Playwright "+Version()+" that the pool knows.", "unknown"
	case m.rule.refuse != "":
		m.refuse(m.rule.refuse)
	default:
		m.weigh()
	}
}

// complete looks for what the server takes for granted in a message, at its
// end: the want of it is an error that ends the whole server.
func (m *message) complete() {
	m.scale = max(m.scale, m.size[ofScale])
	if string(m.method) == "__abort__" {
		if m.seen&keyParams == 0 {
			m.breach("params are missing")
		}
	} else if m.seen&keyMetadata == 0 {
		m.breach("metadata is missing")
	}
}

func (m *message) refuse(why string) {
	if m.refused == "" {
		m.refused, m.name = why, m.rule.name
	}
}

// free tells that nothing which is still to come can refuse the call.
func (m *message) free() bool {
	return m.decided && m.broken == "" && m.refused == "" && (m.rule == nil || len(m.rule.watched) == 0)
}
