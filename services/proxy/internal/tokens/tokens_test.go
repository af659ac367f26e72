package tokens

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func entry(name, secret string, more ...string) string {
	return block(append([]string{"name: " + name, "hash: " + Hash(secret)}, more...), "  ")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a, b, old := NewSecret(), NewSecret(), NewSecret()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	list, err := Parse([]byte("tokens:\n" + entry("a", a, "max_sessions: 3", "queue_share: 0.25") +
		entry("b", b, "expires: 2030-01-02T03:04:06Z") + entry("old", old, "expires: 2030-01-02T03:04:05Z")))
	require.NoError(t, err)
	set := &Set{tokens: list}

	got, err := set.Check(a, now)
	require.NoError(t, err)
	require.Equal(t, []any{"a", 3, 0.25}, []any{got.Name, got.MaxSessions, got.QueueShare})
	got, err = set.Check(b, now)
	require.NoError(t, err)
	require.Equal(t, "b", got.Name)
	_, err = set.Check(b, now.Add(time.Second))
	require.ErrorIs(t, err, ErrExpired)
	_, err = set.Check(old, now)
	require.ErrorIs(t, err, ErrExpired)
	require.NotContains(t, err.Error(), old)
	_, err = set.Check("", now)
	require.ErrorIs(t, err, ErrMissing)
	for _, wrong := range []string{a[:len(a)-1], a + "x", strings.ToUpper(a), NewSecret(), Hash(a), strings.Repeat("x", 1<<20)} {
		_, err = set.Check(wrong, now)
		require.ErrorIs(t, err, ErrUnknown)
	}
}

func TestQueuePlaces(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]int{0: 0, 1: 100, 0.5: 50, 0.001: 1, 0.999: 99} {
		require.Equal(t, want, Token{QueueShare: share}.QueuePlaces(100), "%v", share)
	}
}

// TestBadFiles never has a value of the file in its errors: it may be a token
// in the wrong place.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	secret := NewSecret()
	for name, tt := range map[string]struct{ text, want string }{
		"empty":          {"", "there is nothing in it"},
		"comments":       {"# none\n", "there is nothing in it"},
		"no token":       {"tokens: []", "there is no token in it"},
		"null":           {"tokens:\n", "tokens is a list"},
		"the token":      {"tokens:\n- name: a\n  hash: " + secret, "line 2: hash is the token itself"},
		"only the token": {secret, "tokens is a list"},
		"token as name":  {"tokens:\n- name: '" + secret + " '\n  hash: " + Hash(secret), "line 2: name has"},
		"token as key":   {"tokens:\n- name: a\n  " + secret + ": a\n", "line 2: there is a key"},
		"other key":      {secret + ": a", "the only key at the top is tokens"},
		"alias":          {"tokens:\n- name: *" + secret, "neither YAML nor JSON"},
		"broken":         {"tokens:\n- name: a\n  hash: \"" + secret, "neither YAML nor JSON"},
		"short hash":     {"tokens:\n- name: a\n  hash: sha256:" + secret, "hash must be sha256:"},
		"no hash":        {"tokens:\n- name: a\n", "a token needs name and hash"},
		"no name":        {"tokens:\n- hash: " + Hash(secret), "a token needs name and hash"},
		"sessions":       {"tokens:\n" + entry("a", secret, "max_sessions: 0"), "max_sessions is a whole number"},
		"share":          {"tokens:\n" + entry("a", secret, "queue_share: 1.1"), "queue_share is above 0 to 1"},
		"no number":      {"tokens:\n" + entry("a", secret, "queue_share: NaN"), "queue_share is above 0 to 1"},
		"expires":        {"tokens:\n" + entry("a", secret, "expires: "+secret), "expires is a time"},
		"twice a name":   {"tokens:\n" + entry("a", secret) + entry("a", NewSecret()), "the name a is there twice"},
		"twice a token":  {"tokens:\n" + entry("a", secret) + entry("b", secret), "a and b are the same token"},
		"twice a key":    {"tokens:\n" + entry("a", secret, "name: b"), "a key is there twice"},
		"too many":       {"tokens:\n" + strings.Repeat(entry("a", secret), 1001), "1001 tokens are more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(tt.text))
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), secret)
		})
	}
	list, err := Parse([]byte(`[{"name":"a","hash":"` + Hash(secret) + `","max_sessions":1}]`))
	require.NoError(t, err, "JSON, and without the key")
	require.Len(t, list, 1)
}

// rig is a store that runs on a file, with what it logs.
type rig struct {
	*Store
	t    *testing.T
	path string
	hup  chan os.Signal
	logs *observer.ObservedLogs
}

func run(t *testing.T, path string) *rig {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	s, err := Open(Config{File: path}, zap.New(core))
	require.NoError(t, err)
	r := &rig{Store: s, t: t, path: path, hup: make(chan os.Signal, 1), logs: logs}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, r.hup)
	}()
	t.Cleanup(func() { cancel(); <-done })
	// The first word of Run comes when the watch is there.
	require.Eventually(t, func() bool { return logs.FilterField(zap.String("why", "start")).Len() > 0 }, 20*time.Second, time.Millisecond)
	return r
}

func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	require.Eventually(r.t, ok, 20*time.Second, 2*time.Millisecond, what)
}

func (r *rig) knows(secret string) bool {
	_, err := r.Check(secret)
	return err == nil
}

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// TestReload changes the file in every way that files are changed.
func TestReload(t *testing.T) {
	t.Parallel()
	one, two := NewSecret(), NewSecret()
	first, second := "tokens:\n"+entry("one", one), "tokens:\n"+entry("two", two)
	for name, prepare := range map[string]func(t *testing.T, dir, path string) (change func()){
		"written": func(t *testing.T, _, path string) func() {
			put(t, path, first)
			return func() { put(t, path, second) }
		},
		"renamed over": func(t *testing.T, dir, path string) func() {
			put(t, path, first)
			return func() {
				put(t, filepath.Join(dir, "new"), second)
				require.NoError(t, os.Rename(filepath.Join(dir, "new"), path))
			}
		},
		"removed and made again": func(t *testing.T, _, path string) func() {
			put(t, path, first)
			return func() {
				require.NoError(t, os.Remove(path))
				put(t, path, second)
			}
		},
		// path → ..data/tokens.yaml, ..data → ..1, and ..data is replaced.
		"Kubernetes": func(t *testing.T, dir, path string) func() {
			for n, text := range map[string]string{"..1": first, "..2": second} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, n), 0o755))
				put(t, filepath.Join(dir, n, "tokens.yaml"), text)
			}
			require.NoError(t, os.Symlink("..1", filepath.Join(dir, "..data")))
			require.NoError(t, os.Symlink("..data/tokens.yaml", path))
			return func() {
				require.NoError(t, os.Symlink("..2", filepath.Join(dir, "..data_tmp")))
				require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
			}
		},
		"behind a link": func(t *testing.T, _, path string) func() {
			other := t.TempDir()
			put(t, filepath.Join(other, "real"), first)
			require.NoError(t, os.Symlink(filepath.Join(other, "real"), path))
			return func() { put(t, filepath.Join(other, "real"), second) }
		},
		"mounted alone": func(t *testing.T, _, path string) func() {
			put(t, path, first)
			other := filepath.Join(t.TempDir(), "elsewhere")
			require.NoError(t, os.Link(path, other))
			return func() { put(t, other, second) } // whose folder is not watched
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "tokens.yaml")
			change := prepare(t, dir, path)
			r := run(t, path)
			require.True(t, r.knows(one))
			require.False(t, r.knows(two))
			change()
			r.await("the change is seen", func() bool { return r.knows(two) })
			require.False(t, r.knows(one), "a token that was taken out lets nobody in")
		})
	}
}

// TestBrokenReload keeps the earlier tokens, says so, and goes on with the next file.
func TestBrokenReload(t *testing.T) {
	t.Parallel()
	one, two := NewSecret(), NewSecret()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	put(t, path, "tokens:\n"+entry("one", one))
	r := run(t, path)
	for _, broken := range []string{"tokens:\n- name: two\n  hash: " + two, "", "tokens: []"} {
		before := r.logs.FilterMessageSnippet("cannot read the tokens again").Len()
		put(t, path, broken)
		r.await("it is said", func() bool { return r.logs.FilterMessageSnippet("cannot read the tokens again").Len() > before })
		require.True(t, r.knows(one))
	}
	seen := func() int { return r.logs.FilterField(zap.String("why", "file changed")).Len() }
	before := seen()
	require.NoError(t, os.Remove(path))
	r.await("it is seen to be gone", func() bool { return seen() > before })
	r.hup <- os.Interrupt
	r.await("SIGHUP is heard", func() bool { return r.logs.FilterField(zap.String("why", "SIGHUP")).Len() > 0 })
	require.True(t, r.knows(one))
	put(t, path, "tokens:\n"+entry("two", two))
	r.await("the next file", func() bool { return r.knows(two) && !r.knows(one) })
	for _, e := range r.logs.All() {
		for _, f := range e.Context {
			require.NotContains(t, f.String, two)
		}
	}
}

func TestOpenRefusesABrokenFile(t *testing.T) {
	t.Parallel()
	_, err := Open(Config{File: filepath.Join(t.TempDir(), "none")}, zap.NewNop())
	require.ErrorContains(t, err, "tokens.file")
	_, err = Open(Config{List: "x"}, zap.NewNop())
	require.ErrorContains(t, err, "tokens.list")
	secret := NewSecret()
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, entry("a", secret))
	_, err = Open(Config{File: path, List: entry("a", NewSecret())}, zap.NewNop())
	require.ErrorContains(t, err, "the name a is there twice")
}

func command(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Command(args, strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

func TestCommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	secrets := map[string]string{}
	for _, name := range []string{"ci", "agents"} {
		code, out, errs := command(t, "", "new", "--name", name, "--max-sessions=10", "--queue-share=0.5", "--expires=720h", "--file", path)
		require.Zero(t, code, errs)
		secrets[name] = strings.TrimSpace(out)
		require.Regexp(t, `^pwd_[a-z2-7]{52}$`, secrets[name])
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, secret := range secrets {
		require.NotContains(t, string(text), secret)
		code, out, errs := command(t, secret+"\n", "check", "--file", path)
		require.Zero(t, code, errs)
		require.Contains(t, out, name+" (ends at ")
	}
	code, _, errs := command(t, NewSecret(), "check", "--file", path)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "the pool has no such token")

	code, _, errs = command(t, "", "new", "--name", "ci", "--file", path)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "nothing was written")
	again, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, again)

	code, out, _ := command(t, secrets["ci"]+"\n", "hash")
	require.Zero(t, code)
	require.Contains(t, string(text), strings.TrimSpace(out))
	code, _, errs = command(t, "hunter2", "hash")
	require.Equal(t, 1, code)
	require.NotContains(t, errs, "hunter2")
	code, _, errs = command(t, "", "hash", secrets["ci"])
	require.Equal(t, 1, code)
	require.NotContains(t, errs, secrets["ci"])

	code, out, _ = command(t, "", "new", "--name", "x")
	require.Zero(t, code)
	require.Contains(t, out, "  - name: x\n    hash: sha256:")
}
