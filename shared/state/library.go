package state

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/rueidis"
	"golang.org/x/sync/singleflight"
)

//go:embed lua/*.lua lua/part/*.lua
var sources embed.FS

const (
	flavourFadeMS = 60_000  // how long a flavour without workers is remembered
	tombstoneMS   = 120_000 // how long a cancel waits for a late acquire
	rejectedMS    = 30_000  // how long a refusal waits for the same call again; there can be thousands a second
	changesKept   = 10_000  // revisions that P:changed reaches back
	inboxMS       = 600_000 // how long an inbox is kept that nobody renews
	// What the scripts keep is small: Redis has Lua's garbage collector walk through all of it every few hundred
	// calls, which with a thousand cards was an eighth of what a session cost.
	cardsKept = 128 // workers that are known again without reading their cards anew
	freshKept = 64  // sessions that were placed and have not started

	// horizonMS is when P:tick expires: in the year 2100. All releases must agree on it.
	horizonMS = 4_102_444_800_000
)

// keyName is how the scripts name a key or the start of one.
var keyName = regexp.MustCompile(`\bP \.\. '([a-z:]+)'`)

// library holds all scripts of one pool as functions of Redis
// (https://redis.io/docs/latest/develop/programmability/functions-intro/). A
// script that is sent by EVALSHA builds all its local functions anew in each
// call, which was a sixth of what a session cost; a function finds them there.
type library struct {
	text string
	// name has the hash of the text in it, so that releases and settings which
	// differ never call each other's functions.
	name    string
	names   map[string]string // full name of the function by script
	loading singleflight.Group
}

// compile joins the constants of this store, the parts that any script needs and
// the scripts. A script and a part name in their first line the parts that they
// need ("--@ fits place ..."). Constants are part of the text rather than
// arguments, so that a call carries only what is its own.
func compile(prefix, constants string) (*library, error) {
	var b strings.Builder
	b.WriteString(constants)
	there := map[string]bool{}
	for _, name := range scriptNames {
		body, err := join(&b, "lua/"+name+".lua", there)
		if err != nil {
			return nil, fmt.Errorf("script %s: %w", name, err)
		}
		// No flags: a Redis that refuses writes, for want of memory or as a replica, refuses the call as a whole.
		fmt.Fprintf(&b, "redis.register_function('LIBRARY_%s', function(_, ARGV)\n"+
			"local refused = begin()\nif refused then return refused end\n%s\nend)\n", name, body)
	}
	// Lua does not fold constants, and joining the names of keys was a tenth of a call's cost.
	text := keyName.ReplaceAllString(b.String(), "'"+prefix+"$1'")
	sum := sha256.Sum256([]byte(text))
	l := &library{name: "pwdist_" + hex.EncodeToString(sum[:8]), names: map[string]string{}}
	for _, name := range scriptNames {
		l.names[name] = l.name + "_" + name
	}
	l.text = "#!lua name=" + l.name + "\n" + strings.ReplaceAll(text, "LIBRARY_", l.name+"_")
	return l, nil
}

// join writes the parts that a file needs and that are not there yet, and
// returns the file's own text.
func join(b *strings.Builder, file string, there map[string]bool) (string, error) {
	text, err := sources.ReadFile(file)
	if err != nil {
		return "", err
	}
	head, body, _ := strings.Cut(string(text), "\n")
	needs, ok := strings.CutPrefix(head, "--@")
	if !ok {
		return "", fmt.Errorf("%s: the first line must name the parts that it needs", file)
	}
	for part := range strings.FieldsSeq("base " + needs) {
		if there[part] {
			continue
		}
		there[part] = true
		text, err := join(b, "lua/part/"+part+".lua", there)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		b.WriteByte('\n')
	}
	return body, nil
}

// constants renders what every script of one store shares.
func constants(prefix, pool string, o Options) string {
	return fmt.Sprintf(`local P, POOL, SCHEMA = '%s', '%s', '%s'
local HEARTBEAT, LEASE, START_LEASE, FADE, TOMBSTONE, REJECTED_AGE, INBOX_AGE = %d, %d, %d, %d, '%d', '%d', '%d'
local EVENTS_MAX, EVENTS_AGE, ENDED_MAX, ENDED_AGE = '%d', %d, %d, '%d'
local MAX_CLASSES, MAX_FLAVOURS, MAX_SKIPPED, CHANGES_KEPT, CARDS_KEPT, FRESH_KEPT, HORIZON = %d, %d, %d, %d, %d, %d, %d
local FINAL_NUMBER = '%d'
`,
		prefix, pool, Schema,
		o.Heartbeat.Milliseconds(), o.ProcessLease.Milliseconds(), o.StartLease.Milliseconds(), flavourFadeMS, tombstoneMS, rejectedMS, inboxMS,
		o.EventsMaxEntries, o.EventsMaxAge.Milliseconds(), o.EndedMax, o.EndedAge.Milliseconds(),
		o.MaxClasses, o.MaxFlavours, o.MaxSkipped, changesKept, cardsKept, freshKept, horizonMS,
		FinalNumber)
}

// call runs a script. A Redis that does not have the library, because it is
// new or came back empty, is given it. key is any key of the pool: all are in
// one slot, and it tells which.
func (l *library) call(ctx context.Context, c rueidis.Client, script, key string, args []string) rueidis.RedisResult {
	do := func() rueidis.RedisResult {
		// Retryable: every script is idempotent, so a call whose reply was lost may be sent again.
		return c.Do(ctx, c.B().Fcall().Function(l.names[script]).Numkeys(1).Key(key).Arg(args...).Build().ToRetryable())
	}
	got := do()
	if !missing(got.Error()) {
		return got
	}
	// One of the many who miss it at the same time loads it, and not with its own context: the
	// others may wait for it when that one has gone.
	loaded := l.loading.DoChan("", func() (any, error) { return nil, l.load(context.WithoutCancel(ctx), c) })
	select {
	case r := <-loaded:
		if r.Err != nil {
			return rueidis.NewErrorResult(r.Err)
		}
		return do()
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
}

func missing(err error) bool {
	refused, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasSuffix(refused.Error(), "Function not found")
}

// load gives Redis the library. Another process may have done so by now, which
// is as good: equal names have equal texts.
func (l *library) load(ctx context.Context, c rueidis.Client) error {
	err := c.Do(ctx, c.B().FunctionLoad().FunctionCode(l.text).Build().ToRetryable()).Error()
	if refused, ok := rueidis.IsRedisErr(err); ok && strings.HasSuffix(refused.Error(), "already exists") {
		return nil
	}
	if refused, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(refused.Error(), "NOPERM") {
		return fmt.Errorf("the user of Redis may not load the pool's functions: allow it +fcall and +function|load: %w", err)
	}
	return err
}
