package state

import (
	"embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua lua/part/*.lua
var sources embed.FS

const (
	flavourFadeMS = 60_000  // how long a flavour without workers is remembered
	tombstoneMS   = 120_000 // how long a cancel waits for a late acquire
	changesKept   = 10_000  // revisions that P:changed reaches back
	inboxMS       = 600_000 // how long an inbox is kept that nobody renews
)

// keyName is how the scripts name a key or the start of one.
var keyName = regexp.MustCompile(`\bP \.\. '([a-z:]+)'`)

// script is one Lua script with the parts it names joined in front.
type script struct {
	name string
	lua  *rueidis.Lua
}

// compile joins the constants of this store, the parts that the script needs
// and the script itself. A script and a part name in their first line the parts
// that they need ("--@ fits place ..."). Constants are part of the text rather
// than arguments, so that a call carries only what is its own.
func compile(name, prefix, constants string) (*script, error) {
	var b strings.Builder
	b.WriteString(constants)
	if err := join(&b, "lua/"+name+".lua", map[string]bool{}); err != nil {
		return nil, fmt.Errorf("script %s: %w", name, err)
	}
	// Lua does not fold constants, and joining the names of keys was a tenth of a call's cost.
	text := keyName.ReplaceAllString(b.String(), "'"+prefix+"$1'")
	// Retryable: every script is idempotent, so a call whose reply was lost may be sent again.
	return &script{name: name, lua: rueidis.NewLuaScriptRetryable(text)}, nil
}

// join writes a file behind the parts that it needs and that are not there yet.
func join(b *strings.Builder, file string, there map[string]bool) error {
	text, err := sources.ReadFile(file)
	if err != nil {
		return err
	}
	head, body, _ := strings.Cut(string(text), "\n")
	needs, ok := strings.CutPrefix(head, "--@")
	if !ok {
		return fmt.Errorf("%s: the first line must name the parts that it needs", file)
	}
	for part := range strings.FieldsSeq(needs) {
		if there[part] {
			continue
		}
		there[part] = true
		if err := join(b, "lua/part/"+part+".lua", there); err != nil {
			return err
		}
	}
	b.WriteString(body)
	b.WriteByte('\n')
	return nil
}

// constants renders what every script of one store shares.
func constants(prefix, pool string, o Options) string {
	return fmt.Sprintf(`local P, POOL, SCHEMA = '%s', '%s', '%s'
local HEARTBEAT, LEASE, START_LEASE, FADE, TOMBSTONE, INBOX_AGE = %d, %d, %d, %d, %d, %d
local EVENTS_MAX, EVENTS_AGE, ENDED_MAX, ENDED_AGE = '%d', %d, %d, %d
local MAX_CLASSES, MAX_FLAVOURS, MAX_SKIPPED, CHANGES_KEPT = %d, %d, %d, %d
`,
		prefix, pool, Schema,
		o.Heartbeat.Milliseconds(), o.ProcessLease.Milliseconds(), o.StartLease.Milliseconds(), flavourFadeMS, tombstoneMS, inboxMS,
		o.EventsMaxEntries, o.EventsMaxAge.Milliseconds(), o.EndedMax, o.EndedAge.Milliseconds(),
		o.MaxClasses, o.MaxFlavours, o.MaxSkipped, changesKept)
}
