package state_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
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

// TestScriptsStayInTheirPool walks through every script. Each call declares one
// key of its pool, and its script touches no key besides those of that pool,
// which are in the same slot.
func TestScriptsStayInTheirPool(t *testing.T) {
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
	called := map[string]bool{}
	var script string
	for _, line := range log {
		w := words(line)
		switch {
		case w[0] == "ECHO":
			script = strings.TrimPrefix(w[1], "step:")
		case script == "":
		case w[0] == "FCALL":
			require.True(t, strings.HasSuffix(w[1], "_"+script), w[1])
			require.Equal(t, []string{"1", p.k.Schema()}, w[2:4])
			called[script] = true
		case strings.Contains(line, " lua] ") && w[0] != "TIME":
			keys := w[1:2]
			switch w[0] {
			case "MGET":
				keys = w[1:]
			case "MSET":
				keys = nil
				for i := 1; i < len(w); i += 2 {
					keys = append(keys, w[i])
				}
			case "ZINTERCARD":
				keys = w[2:4]
			}
			for _, key := range keys {
				require.True(t, strings.HasPrefix(key, p.k.Prefix()), "%s: %s", script, line)
			}
		}
	}
	require.Len(t, called, len(state.Scripts), "every script was called")
}

// TestLibraryIsLoadedWhenItIsMissing has many callers miss the library at the
// same time, as after a restart of Redis: it is loaded, once, and none of them
// fails.
func TestLibraryIsLoadedWhenItIsMissing(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 100))
	require.NoError(t, p.do("FUNCTION", "DELETE", p.Library()).Error())
	log := monitor(t, func() {
		atOnce(50, func(i int) { p.acquire(fmt.Sprint("s", i)) })
	})
	loads := 0
	for _, line := range log {
		if words(line)[0] == "FUNCTION" {
			loads++
		}
	}
	require.Positive(t, loads)
	require.Less(t, loads, 25, "callers who miss it together load it together")
	n, err := p.do("SCARD", p.k.Held("w1")).ToInt64()
	require.NoError(t, err)
	require.EqualValues(t, 50, n)
}

// What the scripts keep of a worker must not outlive it: another Redis' data, or
// another worker by its name.
func TestCardOfAnother(t *testing.T) {
	p := newPool(t)
	for i, version := range []string{"140", "141", "142"} {
		w := worker("w1", 1)
		w.BrowserVersion, w.Endpoint = version, fmt.Sprint("w1:", i)
		p.join(w)
		st := p.acquire(fmt.Sprint("s", i))
		require.Equal(t, state.Assigned, st.Phase)
		require.Equal(t, version, st.Grant.BrowserVersion)
		require.Equal(t, w.Endpoint, st.Grant.Endpoint)
		p.wipe()
	}
}

// The databases of one Redis share their functions.
func TestCardOfAnotherDatabase(t *testing.T) {
	own := newOwn(t)
	second, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:" + own.port}, SelectDB: 1, DisableCache: true})
	require.NoError(t, err)
	t.Cleanup(second.Close)
	p := openPool(t, own.client, options())
	other, err := state.New(second, p.k, p.Options(), nil)
	require.NoError(t, err)
	stores := []*state.Store{p.Store, other}
	for i, s := range stores {
		w := worker("w1", 3)
		w.BrowserVersion = fmt.Sprint(i)
		_, err := s.Join(ctx, state.JoinRequest{Worker: w, State: state.Ready, Number: 1})
		require.NoError(t, err)
	}
	for n := range 3 {
		for i, s := range stores {
			st, err := s.Acquire(ctx, request(fmt.Sprint("s", n)))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), st.Grant.BrowserVersion)
		}
	}
}

// TestNothingGoesFromOneCallToTheNext holds the library against variables that
// live longer than a call: whatever begin does not set anew must be a constant, or
// say no more than a text that each call reads.
func TestNothingGoesFromOneCallToTheNext(t *testing.T) {
	files, err := filepath.Glob("lua/part/*.lua")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	// The first are what the pool's head says, which tests change behind the scripts' back; the next hold at one
	// revision (TestCardOfAnother), as long as a record says the same (TestPlacedSession...), or until a lease is over
	// that nobody can take back (TestProxyIsMet...). The text of a number is always the same.
	known := []string{"head", "EPOCH", "REV", "RESUMED", "CLOCK", "cards", "carded", "lists", "listed", "lists_epoch", "lists_rev",
		"fresh", "freshes", "met", "mets", "met_epoch", "met_resumed", "small"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			name, ok := strings.CutPrefix(line, "local ")
			if !ok || strings.HasPrefix(name, "function ") {
				continue
			}
			names, _, _ := strings.Cut(name, "--")
			names, _, _ = strings.Cut(names, "=")
			for name := range strings.SplitSeq(strings.TrimSpace(names), ",") {
				name = strings.TrimSpace(name)
				if slices.Contains(known, name) {
					continue
				}
				if name != strings.ToUpper(name) || file == "lua/part/base.lua" {
					set := regexp.MustCompile(`(?s)\nlocal function begin\(\)\n(.*\n)?  [A-Za-z, ]*\b` + name + `\b[A-Za-z, ]* = .*\nend\n`)
					require.True(t, set.Match(text), "%s: %s must be set anew in each call", file, name)
				}
			}
		}
	}
}
