package guard

// place tells where in what was received the bytes of the message are that the
// scanner is fed with: in what is held back, or in what came last.
type place struct {
	fed    []byte // what came last
	shift  int    // of a byte in fed, from its place in the unit
	next   int    // place in the unit of the first byte that the scanner has
	plain  []byte // what the scanner has
	last   int    // place in the unit of the payload's byte before that, or gone
	before byte   // that byte
}

// gone is the place of a byte that the server has already.
const gone = -1

// feed tells that what came before the next bytes has been sent, or is held.
func (p *place) feed(sent bool) {
	if sent {
		p.last = gone
	}
}

// payload tells that the scanner is fed from b[at:], of a unit that has so many bytes
// held and goes on at b[start:].
func (p *place) payload(b []byte, at, start, held int) {
	p.fed, p.shift = b, start-held
	p.next = at - p.shift
}

func (p *place) passed() {
	p.next += len(p.plain)
	p.last, p.before = p.next-1, p.plain[len(p.plain)-1]
}

// hidden takes the place of the last letter of a key that the server must not see.
const hidden = '_'

// hide makes the key whose end the scanner has just found one that the server does
// not know, and drops. It returns what is wrong with a key that no stock client sends.
func (g *Guard) hide(name string) string {
	p := &g.place
	at, letter := p.last, p.before
	if n := g.scan.at; n > 0 {
		at, letter = p.next+n-1, p.plain[n-1]
	}
	last := name[len(name)-1]
	if at == gone || letter != last {
		return "The parameter " + name + " is spelled as no client does. Leave it out."
	}
	// What is masked stays masked.
	if at < len(g.hold) {
		g.hold[at] ^= last ^ hidden
	} else {
		p.fed[at+p.shift] ^= last ^ hidden
	}
	return ""
}
