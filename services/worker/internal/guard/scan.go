package guard

import "unicode/utf8"

// Limits of what a message may look like. Stock clients stay far below them.
const (
	maxDepth   = 1000 // arrays and objects in each other
	maxCapture = 2048 // bytes of a key or of a string that decides something
)

// What the scanner expects next.
const (
	wantValue = iota
	wantFirst // a value, or the end of an empty array
	wantKey
	wantFirstKey // a key, or the end of an empty object
	wantColon
	wantComma // or the end of what is open
	inString
	inEscape
	inHex
	inNumber
	inWord
	atEnd // only white space may follow
)

// Where in a number the scanner is.
const (
	numMinus = iota
	numZero
	numInt
	numDot
	numFraction
	numE
	numESign
	numExponent
)

// scanner reads one JSON text as V8's JSON.parse does, in pieces of any size.
// It takes exactly the grammar of RFC 8259; what it takes, JSON.parse takes,
// and it reports keys and strings with their escapes decoded.
type scanner struct {
	state  uint8
	num    uint8
	hexN   uint8
	isKey  bool // the string is a key
	take   bool // the string is wanted
	tooBig bool
	hex    rune
	high   rune // a high surrogate waits for its other half
	word   string
	depth  int
	stack  [maxDepth/64 + 1]uint64 // set bits are objects
	text   []byte                  // the key or string, decoded, as far as it is wanted
	bad    bool
	at     int // where it is in what it was fed with
}

func (s *scanner) reset() {
	s.state, s.depth, s.bad, s.text = wantValue, 0, false, s.text[:0]
}

// sink is told what the scanner finds. Depth is the number of arrays and
// objects around it.
type sink interface {
	// key is called for every key of an object; whole is false for a key that is too long
	// to be looked at.
	key(depth int, name []byte, whole bool)
	// wantsString tells whether the string that begins as a value is to be kept.
	wantsString(depth int) bool
	// str is called for each string that was wanted.
	str(depth int, value []byte, whole bool)
	// begin is called for each value that is no string, with its first byte.
	begin(depth int, first byte)
	// digit is called for each byte of a number.
	digit(depth int, c byte)
	// item is called at the end of each value.
	item(depth int)
}

func (s *scanner) inObject() bool {
	d := s.depth - 1
	return d >= 0 && s.stack[d>>6]&(1<<(d&63)) != 0
}

// done tells whether the text is whole. A number at the top would end only
// with the text; messages are objects, so that is not of interest.
func (s *scanner) done() bool { return !s.bad && s.state == atEnd }

// feed reads on. False means that the text is no JSON.
func (s *scanner) feed(p []byte, to sink) bool {
	for i := 0; i < len(p) && !s.bad; {
		if s.state == inString {
			n := plain(p[i:])
			if s.take && n > 0 {
				s.keep(p[i : i+n])
			}
			if i += n; i == len(p) {
				break
			}
		}
		s.at = i
		if s.step(p[i], to) {
			i++
		}
	}
	return !s.bad
}

// special marks the bytes that mean something inside a string.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return
}()

// plain is the number of bytes of p up to one that means something in a string.
func plain(p []byte) int {
	for i, c := range p {
		if special[c] {
			return i
		}
	}
	return len(p)
}

func (s *scanner) keep(b []byte) {
	s.flushHigh()
	if room := maxCapture - len(s.text); s.tooBig || len(b) > room {
		if !s.tooBig {
			s.text = append(s.text, b[:max(room, 0)]...)
		}
		s.tooBig = true
		return
	}
	s.text = append(s.text, b...)
}

func (s *scanner) flushHigh() {
	if s.high != 0 && !s.tooBig {
		s.high = 0
		s.text = append(s.text, 0xff) // a lone surrogate equals nothing that we know
	}
}

func (s *scanner) keepRune(r rune) {
	if !s.take || s.tooBig {
		return
	}
	if s.high != 0 && r >= 0xdc00 && r < 0xe000 {
		r = (s.high-0xd800)<<10 + (r - 0xdc00) + 0x10000
		s.high = 0
	}
	if r >= 0xd800 && r < 0xdc00 {
		s.flushHigh()
		s.high = r
		return
	}
	s.flushHigh()
	if len(s.text)+4 > maxCapture {
		s.tooBig = true
		return
	}
	if r >= 0xdc00 && r < 0xe000 {
		s.text = append(s.text, 0xff)
		return
	}
	s.text = utf8.AppendRune(s.text, r)
}

// step takes one byte; false means that it has to be looked at again.
func (s *scanner) step(c byte, to sink) bool {
	switch s.state {
	case inString:
		s.inString(c, to)
		return true
	case inEscape:
		s.escape(c)
		return true
	case inHex:
		s.hexDigit(c)
		return true
	case inNumber:
		return s.number(c, to)
	case inWord:
		if c != s.word[0] {
			s.bad = true
		} else if s.word = s.word[1:]; s.word == "" {
			s.endValue(to)
		}
		return true
	}
	if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
		return true
	}
	switch s.state {
	case wantFirst, wantValue:
		if c == ']' && s.state == wantFirst {
			s.close(to)
		} else {
			s.value(c, to)
		}
	case wantKey, wantFirstKey:
		switch {
		case c == '"':
			s.string(true, true)
		case c == '}' && s.state == wantFirstKey:
			s.close(to)
		default:
			s.bad = true
		}
	case wantColon:
		s.bad = c != ':'
		s.state = wantValue
	case wantComma:
		switch {
		case c == ',' && s.inObject():
			s.state = wantKey
		case c == ',':
			s.state = wantValue
		case c == '}' && s.inObject(), c == ']' && !s.inObject():
			s.close(to)
		default:
			s.bad = true
		}
	default:
		s.bad = true
	}
	return true
}

func (s *scanner) string(isKey, take bool) {
	s.state, s.isKey, s.take, s.tooBig, s.high = inString, isKey, take, false, 0
	s.text = s.text[:0]
}

func (s *scanner) value(c byte, to sink) {
	switch {
	case c == '"':
		s.string(false, to.wantsString(s.depth))
		return
	case c == '{' || c == '[':
		if s.depth == maxDepth {
			s.bad = true
			return
		}
		to.begin(s.depth, c)
		bit := uint64(1) << (s.depth & 63)
		if c == '{' {
			s.stack[s.depth>>6] |= bit
			s.state = wantFirstKey
		} else {
			s.stack[s.depth>>6] &^= bit
			s.state = wantFirst
		}
		s.depth++
		return
	}
	to.begin(s.depth, c)
	s.state = inWord
	switch c {
	case 't':
		s.word = "rue"
	case 'f':
		s.word = "alse" //nolint:misspell // after an f
	case 'n':
		s.word = "ull"
	case '-':
		s.state, s.num = inNumber, numMinus
	case '0':
		s.state, s.num = inNumber, numZero
	default:
		s.state, s.num = inNumber, numInt
		s.bad = c < '1' || c > '9'
	}
	if s.state == inNumber {
		to.digit(s.depth, c)
	}
}

func (s *scanner) inString(c byte, to sink) {
	switch {
	case c == '\\':
		s.state = inEscape
	case c != '"':
		s.bad = true // a control character
	default:
		if s.take {
			s.flushHigh()
		}
		if s.isKey {
			s.state = wantColon
			to.key(s.depth, s.text, !s.tooBig)
			return
		}
		if s.take {
			to.str(s.depth, s.text, !s.tooBig)
		}
		s.endValue(to)
	}
}

func (s *scanner) escape(c byte) {
	s.state = inString
	switch c {
	case '"', '\\', '/':
		s.keepRune(rune(c))
	case 'b':
		s.keepRune('\b')
	case 'f':
		s.keepRune('\f')
	case 'n':
		s.keepRune('\n')
	case 'r':
		s.keepRune('\r')
	case 't':
		s.keepRune('\t')
	case 'u':
		s.state, s.hex, s.hexN = inHex, 0, 0
	default:
		s.bad = true
	}
}

func (s *scanner) hexDigit(c byte) {
	switch {
	case c >= '0' && c <= '9':
		c -= '0'
	case c >= 'a' && c <= 'f':
		c -= 'a' - 10
	case c >= 'A' && c <= 'F':
		c -= 'A' - 10
	default:
		s.bad = true
		return
	}
	s.hex = s.hex<<4 | rune(c)
	if s.hexN++; s.hexN == 4 {
		s.state = inString
		s.keepRune(s.hex)
	}
}

// number takes a byte of a number, or ends it and has the byte looked at again.
func (s *scanner) number(c byte, to sink) bool {
	digit := c >= '0' && c <= '9'
	next := uint8(255)
	switch s.num {
	case numMinus:
		if c == '0' {
			next = numZero
		} else if digit {
			next = numInt
		}
	case numZero, numInt:
		switch {
		case digit && s.num == numInt:
			next = numInt
		case c == '.':
			next = numDot
		case c == 'e' || c == 'E':
			next = numE
		}
	case numDot, numFraction:
		if digit {
			next = numFraction
		} else if s.num == numFraction && (c == 'e' || c == 'E') {
			next = numE
		}
	case numE:
		if c == '+' || c == '-' {
			next = numESign
		} else if digit {
			next = numExponent
		}
	case numESign, numExponent:
		if digit {
			next = numExponent
		}
	}
	if next != 255 {
		s.num = next
		to.digit(s.depth, c)
		return true
	}
	if s.num != numZero && s.num != numInt && s.num != numFraction && s.num != numExponent {
		s.bad = true
		return true
	}
	s.endValue(to)
	return false
}

func (s *scanner) close(to sink) {
	s.depth--
	s.endValue(to)
}

func (s *scanner) endValue(to sink) {
	to.item(s.depth)
	if s.depth == 0 {
		s.state = atEnd
		return
	}
	s.state = wantComma
}
