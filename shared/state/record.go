package state

import (
	"slices"
	"strings"
)

// recordLines are the fields of a session's record in Redis, one line each; the
// scripts' part session writes them.
var recordLines = []string{
	"state", "worker", "attempt", "proxy", "queued_at", "assigned_at", "started_at", "browser", "browser_version", "playwright", "name", "labels",
	"token", "client",
}

// RecordFields names what the text of a session's record says (keys.Pool.Session).
// Which fields there are after the first fourteen depends on the state; a text that
// is no record has none.
func RecordFields(text string) map[string]string {
	lines := strings.Split(text, "\n")
	names := recordLines
	switch Phase(lines[0]) {
	case Queued, Assigned:
		names = slices.Concat(names, []string{"seq", "class", "demand"})
	case Active:
		names = slices.Concat(names, []string{"nonce", "beat"})
	case Ended, Rejected:
		names = slices.Concat(names, []string{"reason", "ended_at"})
	default:
	}
	if len(lines) != len(names) {
		return map[string]string{}
	}
	fields := make(map[string]string, len(names))
	for i, name := range names {
		fields[name] = lines[i]
	}
	return fields
}

// oneLine is a text as it may stand in what the scripts read line by line.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
