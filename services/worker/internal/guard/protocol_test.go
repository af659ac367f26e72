package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheProtocolIsTheReviewedOne reads the definition of the protocol out of
// the pinned Playwright. What is new, gone or defined otherwise has to be
// looked at before it is written into protocol.txt: where could it reach
// beyond the session, or touch the worker's disk?
func TestTheProtocolIsTheReviewedOne(t *testing.T) {
	bundle := pinned(t, "lib/coreBundle.js")
	_, source, ok := strings.Cut(bundle, "// packages/protocol/src/validator.ts")
	require.True(t, ok, "the protocol's definition is elsewhere in this version: find it")
	source, _, _ = strings.Cut(source, "\n// packages/")

	types := typesOf(source)
	want := map[string]string{}
	for _, d := range regexp.MustCompile(`(?s)scheme\.(\w+) = (.*?);\n`).FindAllStringSubmatch(source, -1) {
		if regexp.MustCompile(`(Result|Event|Initializer|ErrorDetails)$`).MatchString(d[1]) {
			continue
		}
		sum := sha256.Sum256([]byte(regexp.MustCompile(`\s+`).ReplaceAllString(d[2], "")))
		want[nameOf(t, d[1], types)] = hex.EncodeToString(sum[:4])
	}
	require.Greater(t, len(want), 300)

	got := map[string]string{}
	for line := range strings.SplitSeq(protocol, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) < 3 || f[0] == "#":
		case f[0] == "type":
			got["type "+f[1]] = f[2]
		default:
			require.True(t, len(f) == 3 && f[2] == "allow" || len(f) > 3 && f[2] == "refuse", line)
			got[f[0]] = f[1]
		}
	}
	require.Empty(t, differences(got, want), "review these, then correct protocol.txt")
}

func differences(got, want map[string]string) (d []string) {
	for name, sum := range want {
		switch got[name] {
		case sum:
		case "":
			d = append(d, "new: "+name+" "+sum)
		default:
			d = append(d, "changed: "+name+" "+sum)
		}
	}
	for name := range got {
		if want[name] == "" {
			d = append(d, "gone: "+name)
		}
	}
	sort.Strings(d)
	return d
}

// typesOf are the kinds of objects, the longest name first, so that
// BrowserContextClose is no method of Browser.
func typesOf(source string) []string {
	types := []string{"Root"}
	for _, m := range regexp.MustCompile(`scheme\.(\w+)Initializer = `).FindAllStringSubmatch(source, -1) {
		types = append(types, m[1])
	}
	sort.Slice(types, func(i, j int) bool { return len(types[i]) > len(types[j]) })
	return types
}

func nameOf(t *testing.T, name string, types []string) string {
	base, ok := strings.CutSuffix(name, "Params")
	if !ok {
		return "type " + name
	}
	for _, typ := range types {
		if rest, ok := strings.CutPrefix(base, typ); ok && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z' {
			return typ + "." + strings.ToLower(rest[:1]) + rest[1:]
		}
	}
	t.Errorf("%s belongs to no type", name)
	return name
}

// Methods that two types of one guid share have one verdict.
func TestSharedPrefixesAgree(t *testing.T) {
	kinds := table(filter)
	for prefix, names := range prefixes {
		for _, typ := range names {
			for line := range strings.SplitSeq(protocol, "\n") {
				name, rest, _ := strings.Cut(line, " ")
				method, ok := strings.CutPrefix(name, typ+".")
				if !ok || !strings.Contains(rest, " ") {
					continue
				}
				r := kinds[prefix][method]
				require.NotNil(t, r, name)
				require.Equal(t, strings.HasSuffix(rest, " allow"), r.refuse == "", name)
			}
		}
	}
}
