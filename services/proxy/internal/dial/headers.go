package dial

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Strip takes out of a request's headers, whose names are canonical, what ends at the
// proxy: what belongs to this hop, and what is secret between the client and the pool.
// The rest is for the worker.
func Strip(h http.Header) {
	for name := range h {
		if ends(name) {
			delete(h, name)
		}
	}
}

func ends(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Origin", "Authorization", "Proxy-Authorization", "Cookie",
		"Keep-Alive", "Te", "Trailer", "Forwarded":
		return true
	}
	return strings.HasPrefix(name, "X-Pwdist-") || strings.HasPrefix(name, "X-Forwarded-")
}

// isToken tells whether a name may stand in a request (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// lineEnds have no place in a value: what is behind one would be another header.
var lineEnds = strings.NewReplacer("\r", " ", "\n", " ")

// appendHeader appends a line as net/http would write it.
func appendHeader(b []byte, name, value string) []byte {
	value = textproto.TrimString(value)
	if strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 {
		value = lineEnds.Replace(value)
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, lineEnd...)
}
