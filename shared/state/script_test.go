package state_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// monitor records every command that Redis runs while f does.
func monitor(t *testing.T, f func()) []string {
	t.Helper()
	wire, err := net.Dial("unix", server)
	require.NoError(t, err)
	defer func() { _ = wire.Close() }()
	require.NoError(t, wire.SetDeadline(time.Now().Add(30*time.Second)))
	lines := bufio.NewScanner(wire)
	lines.Buffer(nil, 1<<20)
	_, err = fmt.Fprint(wire, "MONITOR\r\n")
	require.NoError(t, err)
	require.True(t, lines.Scan())
	f()
	stop := "stop-" + t.Name()
	require.NoError(t, conn.Do(ctx, conn.B().Echo().Message(stop).Build()).Error())
	var seen []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), stop) {
			return seen
		}
		seen = append(seen, lines.Text())
	}
	t.Fatal("the recording broke off:", lines.Err())
	return nil
}

var quoted = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// words splits a line of MONITOR.
func words(line string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(line, -1) {
		list = append(list, m[1])
	}
	return list
}

// TestScriptsDeclareTheirKeys walks through every script and holds the keys that
// it touches against those that its call declared, and these against the head of
// the script.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	p := newPool(t)
	step := func(script string, call func()) {
		require.NoError(t, p.do("ECHO", "step:"+script).Error())
		call()
		require.NoError(t, p.do("ECHO", "step:").Error())
	}
	log := monitor(t, func() {
		w := worker("w1", 1)
		w.Lifetime = 4
		step("proxy_heartbeat", func() { p.proxyBeat("p1") })
		step("join", func() { p.join(w) })
		step("acquire", func() { p.acquire("s1") })
		step("acquire", func() { p.acquire("s2") })
		step("start", func() { p.start("s1", "w1", 1) })
		step("heartbeat", func() { p.beat("w1", 2, "s1") })
		step("finish", func() { p.finish("w1", "s1") })
		step("reassign", func() { p.reassign("s2", "w1", 1) })
		step("heartbeat", func() { p.beat("w1", 3) })
		step("cancel", func() { p.cancel("s2") })
		step("cancel", func() { p.cancel("s3") })
		step("acquire", func() { p.acquire("s4") })
		step("retire", func() { p.retire("w1", state.RetireLifetime) })
		step("leave", func() { p.leave("w1", state.RetireLifetime, true) })
		p.expire(p.k.Leases(), "s4")
		step("acquire", func() { p.acquire("s5") })
		p.expire(p.k.Proxies(), "p1")
		p.expire(p.k.Fading(), w.Flavour().Key())
		step("reap", func() { p.reap(10) })
		w.ID = "w2"
		step("join", func() { p.join(w) })
		p.expire(p.k.Workers(), "w2")
		step("reap", func() { p.reap(10) })
	})
	// The families of keys that a call cannot know: of whom its script meets on its way.
	met := map[string]string{
		"acquire":         "worker held free members",
		"reassign":        "worker held free queue token",
		"start":           "",
		"finish":          "session worker held free owned queue inbox token",
		"cancel":          "session worker held free owned queue inbox token",
		"join":            "worker held free members left session owned queue inbox token",
		"heartbeat":       "session free owned queue inbox token",
		"retire":          "session free members queue inbox token",
		"leave":           "session free members owned queue inbox token",
		"reap":            "worker held free members left session owned queue inbox token",
		"proxy_heartbeat": "session worker held free owned queue inbox token",
	}
	// What is looked at once in many calls, when a lifetime comes to its end.
	const rare = " owing changed retiring recycling parting members"
	family := func(key string) string {
		name, ours := strings.CutPrefix(key, p.k.Prefix())
		require.True(t, ours, key)
		name, _, _ = strings.Cut(name, ":")
		return name
	}
	called := map[string]bool{}
	var script string
	var declared []string
	for _, line := range log {
		w := words(line)
		switch {
		case w[0] == "ECHO":
			script = strings.TrimPrefix(w[1], "step:")
		case script == "":
		case w[0] == "EVALSHA" || w[0] == "EVAL":
			n, err := strconv.Atoi(w[2])
			require.NoError(t, err)
			declared = w[3 : 3+n]
			var families []string
			for _, key := range declared {
				families = append(families, family(key))
			}
			require.Equal(t, head(t, script), families, "the head of %s", script)
			called[script] = true
		case strings.Contains(line, " lua] "):
			for _, key := range w[1:] {
				if strings.HasPrefix(key, "{") && strings.Contains(key, "}:") && !slices.Contains(declared, key) {
					require.Contains(t, strings.Fields(met[script]+rare), family(key), "%s touches a key that it does not declare: %s", script, line)
				}
			}
		}
	}
	require.Len(t, called, len(met), "every script was called")
}

// head reads the keys of a script from its head.
func head(t *testing.T, script string) []string {
	t.Helper()
	var keys []string
	for _, key := range keysLine(t, "lua/"+script+".lua") {
		if key == "base" || key == "dispatch" {
			keys = append(keys, keysLine(t, "lua/part/"+key+".lua")...)
		} else {
			keys = append(keys, key)
		}
	}
	return keys
}

func keysLine(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "\n-- KEYS  ")
	require.True(t, ok, "%s must tell its keys", file)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}
