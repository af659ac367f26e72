package state

import (
	"regexp"
	"unicode"
	"unicode/utf8"
)

// LabelRule is what ValidLabel asks for, to be said of one that it is not.
const LabelRule = "key=value, the key of letters, digits and . _ / -, the value of up to 100 characters"

const maxLabel = 100

var labelKey = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,63}$`)

// ValidLabel tells whether a label may be what a worker has, what a client
// requires of one, or what it calls its session. It is one rule for all of
// them: a label that a worker had beyond it could be required by nobody.
func ValidLabel(key, value string) bool {
	return labelKey.MatchString(key) && value != "" && len(value) <= maxLabel && Printable(value)
}

// Printable tells whether a text is UTF-8 without control characters.
func Printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
