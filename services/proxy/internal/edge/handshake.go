package edge

import (
	"net/http"
	"slices"
	"strings"
)

// websocketVersion is the only version there is (RFC 6455).
const websocketVersion = "13"

// isWebSocket tells whether a request is for a WebSocket, and one that may be passed
// on. It does not look whether the upgrade is asked of this hop.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && sound(r.Header) && r.ContentLength <= 0 && len(r.TransferEncoding) == 0 &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		r.Header.Get("Sec-Websocket-Key") != "" && r.Header.Get("Sec-Websocket-Version") == websocketVersion
}

// upgrades tells whether the connection itself shall be upgraded (RFC 9110, section
// 7.8). Balancers take that out unless they are told to pass it on.
func upgrades(h http.Header) bool {
	for _, list := range h.Values("Connection") {
		for token := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// trim takes white space from around values, which is no part of them (RFC 9110, section
// 5.5) and of which nbio leaves what is behind.
func trim(h http.Header) {
	for _, values := range h {
		for i, v := range values {
			if v != "" && (isBlank(v[0]) || isBlank(v[len(v)-1])) {
				values[i] = strings.Trim(v, " \t")
			}
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// sound tells whether headers may be passed on: nbio lets control characters
// through, which the next parser may read otherwise.
func sound(h http.Header) bool {
	for name, values := range h {
		if controls(name) || slices.ContainsFunc(values, controls) {
			return false
		}
	}
	return true
}

// controls tells whether there are control characters in a text.
func controls(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}
