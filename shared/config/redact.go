package config

import (
	"net/url"
	"regexp"
	"strings"
)

const hidden = "***"

// nextURL is where one URL of a comma-separated list ends and another begins.
// A comma alone is not enough, since a password may hold one.
var nextURL = regexp.MustCompile(`,\s*[a-z][a-z0-9+.-]*://`)

// RedactURL takes the password out of a URL, or of every URL of a
// comma-separated list. It does not need the URL to be well-formed: when in
// doubt it hides more. Text without a password comes back as it was.
func RedactURL(text string) string {
	var b strings.Builder
	for {
		at := nextURL.FindStringIndex(text)
		if at == nil {
			b.WriteString(redactOne(text))
			return b.String()
		}
		b.WriteString(redactOne(text[:at[0]]))
		b.WriteByte(',')
		text = text[at[0]+1:]
	}
}

// holdsPassword tells whether text is a URL with a password.
func holdsPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return false
	}
	password, _ := u.User.Password()
	return password != ""
}

func redactOne(text string) string {
	end := strings.LastIndexByte(text, '@')
	if end < 0 {
		return text
	}
	start := 0
	if i := strings.Index(text, "://"); i >= 0 && i < end {
		start = i + len("://")
	}
	// Without a colon the name may well be a password in the wrong place.
	user, _, ok := strings.Cut(text[start:end], ":")
	if !ok {
		return text[:start] + hidden + text[end:]
	}
	return text[:start] + user + ":" + hidden + text[end:]
}
