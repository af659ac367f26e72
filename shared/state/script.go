package state

import (
	"embed"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua lua/part/*.lua
var sources embed.FS

// Schema is the version of the scripts and of the data they keep. It changes
// when a release could misread what another release wrote; a pool refuses
// calls of any other version.
const Schema = "1"

const (
	flavourFadeMS = 60_000  // how long a flavour without workers is remembered
	tombstoneMS   = 120_000 // how long a cancel waits for a late acquire
	changesKept   = 10_000  // revisions that P:changed reaches back
	inboxMS       = 600_000 // how long an inbox is kept that nobody renews
)

// script is one Lua script with the parts it names joined in front.
type script struct {
	name string
	lua  *rueidis.Lua
}

// compile joins the constants of this store, the parts named in the script's
// first line ("--@ base fits ...") and the script itself. Constants are part
// of the text rather than arguments, so that a call carries only what is its own.
func compile(name, constants string) (*script, error) {
	body, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		return nil, err
	}
	head, rest, ok := strings.Cut(string(body), "\n")
	if !ok || !strings.HasPrefix(head, "--@ ") {
		return nil, fmt.Errorf("script %s: the first line must name its parts", name)
	}
	var b strings.Builder
	b.WriteString(constants)
	for _, part := range strings.Fields(head[4:]) {
		text, err := sources.ReadFile("lua/part/" + part + ".lua")
		if err != nil {
			return nil, fmt.Errorf("script %s: %w", name, err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	b.WriteString(rest)
	// Retryable: every script is idempotent, so a call whose reply was lost may be sent again.
	return &script{name: name, lua: rueidis.NewLuaScriptRetryable(b.String())}, nil
}

// constants renders what every script of one store shares.
func constants(prefix, pool string, o Options) string {
	return fmt.Sprintf(`local P, POOL, SCHEMA = '%s', '%s', '%s'
local HEARTBEAT, LEASE, START_LEASE, FADE, TOMBSTONE, INBOX_AGE = %d, %d, %d, %d, %d, %d
local EVENTS_MAX, EVENTS_AGE, ENDED_MAX, ENDED_AGE = '%d', %d, %d, %d
local MAX_CLASSES, MAX_FLAVOURS, CHANGES_KEPT = %d, %d, %d
`,
		prefix, pool, Schema,
		o.Heartbeat.Milliseconds(), o.ProcessLease.Milliseconds(), o.StartLease.Milliseconds(), flavourFadeMS, tombstoneMS, inboxMS,
		o.EventsMaxEntries, o.EventsMaxAge.Milliseconds(), o.EndedMax, o.EndedAge.Milliseconds(),
		o.MaxClasses, o.MaxFlavours, changesKept)
}
