package integration_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// users are the lines of deploy/compose/users.acl, by the user's name.
func users(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "deploy/compose/users.acl"))
	require.NoError(t, err)
	found := map[string][]string{}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "POOL", "default")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "user" {
			found[fields[1]] = fields[2:]
		}
	}
	require.Len(t, found, 4)
	return found
}

// A user may do what its program calls and what its scripts call inside, and
// nothing besides.
func TestRedisUsersHaveWhatTheirProgramsCall(t *testing.T) {
	connect := []string{"auth", "hello", "ping", "info", "client|setname", "eval", "fcall", "function|load"}
	calls := map[string][]string{
		// The fleet, the inbox, the subscription, and the probe of notifications.
		"proxy": append([]string{
			"get", "zrange", "zrangebyscore", "hgetall", "xread", "xdel", "psubscribe", "punsubscribe", "hset", "pexpire", "del",
		}, connect...),
		"worker": append([]string{"get"}, connect...),
	}
	scripts := map[string][]string{
		"proxy":  {"acquire", "cancel", "finish", "proxy_heartbeat", "reap", "reassign"},
		"worker": {"join", "heartbeat", "start", "finish", "retire", "leave"},
	}
	all := users(t)
	for user, names := range scripts {
		want := calls[user]
		for _, name := range names {
			want = append(want, commandsOf(t, name)...)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		var have []string
		for _, rule := range all[user] {
			if command, ok := strings.CutPrefix(rule, "+"); ok {
				have = append(have, command)
			}
		}
		slices.Sort(have)
		require.Equal(t, want, have, "the line of the user %s needs exactly: +%s", user, strings.Join(want, " +"))
	}
}

var (
	commandInScript = regexp.MustCompile(`\b(?:call|redis\.p?call)\(\s*'([A-Za-z]+)'`)
	luaComment      = regexp.MustCompile(`--[^\n]*`)
)

// commandsOf lists the commands that a script and the parts that it is joined
// with call.
func commandsOf(t *testing.T, script string) []string {
	t.Helper()
	folder := filepath.Join(harness.Root(), "shared/state/lua")
	var found []string
	files := []string{script, "part/base"}
	for n := 0; n < len(files); n++ {
		text, err := os.ReadFile(filepath.Join(folder, files[n]+".lua"))
		require.NoError(t, err)
		head, body, _ := strings.Cut(string(text), "\n")
		parts, ok := strings.CutPrefix(head, "--@")
		require.True(t, ok, "%s names no parts", files[n])
		for part := range strings.FieldsSeq(parts) {
			if part = "part/" + part; !slices.Contains(files, part) {
				files = append(files, part)
			}
		}
		for _, match := range commandInScript.FindAllStringSubmatch(luaComment.ReplaceAllString(body, ""), -1) {
			found = append(found, strings.ToLower(match[1]))
		}
	}
	return found
}

// createUsers puts the users of a pool in containers into its Redis, and
// returns the URL of each.
func createUsers(t *testing.T, p *harness.Pool) func(user string) string {
	t.Helper()
	for user, rules := range users(t) {
		if user == "default" {
			continue // it is the test's own
		}
		for i, rule := range rules {
			if strings.HasPrefix(rule, "#") {
				rules[i] = ">password-of-" + user
			}
		}
		command := p.Redis.Client.B().Arbitrary("ACL", "SETUSER", user).Args(rules...).Build()
		require.NoError(t, p.Redis.Client.Do(t.Context(), command).Error())
	}
	return func(user string) string { return "redis://" + user + ":password-of-" + user + "@" + p.Redis.Address }
}

// denied lists what Redis has denied since the last call, as "user command".
// That the services may not configure Redis is meant so; nor need they tell it, as Redis 7.2 allows, what client they use.
func denied(t *testing.T, p *harness.Pool) []string {
	t.Helper()
	entries, err := p.Redis.Client.Do(t.Context(), p.Redis.Client.B().Arbitrary("ACL", "LOG").Build()).ToArray()
	require.NoError(t, err)
	require.NoError(t, p.Redis.Client.Do(t.Context(), p.Redis.Client.B().Arbitrary("ACL", "LOG", "RESET").Build()).Error())
	var found []string
	for _, entry := range entries {
		fields, err := entry.AsStrMap()
		require.NoError(t, err)
		if object := fields["object"]; object != "config|get" && object != "client|setinfo" {
			found = append(found, fields["username"]+" "+fields["reason"]+" "+fields["object"])
		}
	}
	return found
}

// A pool lives with these users: sessions, a queue, a lifetime, the death of a
// worker and of a proxy. Redis denies nobody anything.
func TestRedisUsersAreEnoughForAPool(t *testing.T) {
	harness.NeedBrowser(t)
	p := harness.NewEmpty(t, harness.Options{
		Common: harness.ShortLease(), Worker: harness.Settings{"slots": "1", "lifetime.sessions": "3"}, Supervise: true,
	})
	url := createUsers(t, p)
	p.AddWorker(t, harness.Settings{"redis.url": url("worker")})
	p.AddProxy(t, harness.Settings{"redis.url": url("proxy")})
	p.AddProxy(t, harness.Settings{"redis.url": url("proxy")})
	for _, s := range append(slices.Clone(p.Workers), p.Proxies...) {
		s.AwaitReady(t)
	}

	held := harness.Connect(t, harness.URL(p.Proxies[1], "name=held"))
	queued := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=queued"), "http://example.com/")
		queued <- err
	}()
	p.Log.AwaitSession(t, "queued", event.SessionQueued)
	require.NoError(t, held.Close())
	require.NoError(t, <-queued)

	serves(t, p, "last of a lifetime")
	p.Log.Await(t, "the worker has left", func(e event.Event) bool { return e.Type == event.WorkerLeft })
	serves(t, p, "next worker")

	victim := inPage(t, p, "victim")
	p.Workers[0].Kill()
	victim.AwaitLost(t)
	serves(t, p, "after a worker's death")
	orphan := harness.Connect(t, harness.URL(p.Proxies[1], "name=orphan"))
	p.Proxies[1].Kill()
	orphan.AwaitLost(t)
	p.Log.AwaitSession(t, "orphan", event.SessionEnded)
	serves(t, p, "after a proxy's death")
	p.Proxies[1].Start(t)
	p.Proxies[1].AwaitReady(t)
	require.Empty(t, denied(t, p))
}

// The consumer reads events in every way, and can change none of them.
func TestRedisUserOfConsumersReadsOnly(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{})
	url := createUsers(t, p)
	client, err := consume.Connect(url("consumer"))
	require.NoError(t, err)
	defer client.Close()
	p.JoinStandIn(t, standIn("1.65.1"))
	for _, command := range [][]string{
		{"XADD", p.Keys.Events(), "*", "type", "forged"},
		{"XDEL", p.Keys.Events(), "0-1"},
		{"XTRIM", p.Keys.Events(), "MAXLEN", "0"},
		{"DEL", p.Keys.Events()},
		{"HGETALL", p.Keys.Worker("w")},
		{"XRANGE", p.Keys.Inbox("p"), "-", "+"},
		{"EVAL", "return redis.call('XADD', KEYS[1], '*', 'type', 'forged')", "1", p.Keys.Events()},
		{"KEYS", "*"},
		{"CONFIG", "GET", "*"},
		{"ACL", "LIST"},
	} {
		err := client.Do(t.Context(), client.B().Arbitrary(command[0]).Args(command[1:]...).Build()).Error()
		require.Error(t, err, "%s", command)
		require.Regexp(t, "permission|can't run this command", err.Error(), "%s", command)
	}
	denied(t, p)

	for event, err := range consume.Replay(t.Context(), client, "default", consume.Beginning(), consume.End()) {
		require.NoError(t, err)
		require.NotEmpty(t, event.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var failed error
	for _, consumer := range []string{"", "by name"} {
		group := consume.Group{
			Client: client, Pool: "default", Name: "sink of " + consumer, Consumer: consumer,
			Block: 50 * time.Millisecond, ClaimIdle: time.Millisecond,
			OnNotice: func(err error) { failed = err },
		}
		refused := ""
		err = group.Run(ctx, func(_ context.Context, e event.Event) error {
			switch refused {
			case "":
				refused = e.ID
				return errors.New("not now")
			case e.ID:
				cancel() // it has been claimed, and nothing is left
			}
			return nil
		})
		var handler *consume.HandlerError
		require.ErrorAs(t, failed, &handler)
		require.NoError(t, err)
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
	}
	require.Empty(t, denied(t, p))
}
