package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCDPMethodsAreTheReviewedOnes compares what the allowed methods take with
// the types of the pinned Playwright. One that takes something new has to be
// judged again, and attacked: tests/integration/clients/node/cdp.mjs.
func TestCDPMethodsAreTheReviewedOnes(t *testing.T) {
	source := pinned(t, "types/protocol.d.ts")
	defined := cdpDefinitions(source)
	require.Greater(t, len(defined), 1000)

	var wrong []string
	seen := map[string]bool{}
	for line := range strings.Lines(cdpMethods) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		require.Len(t, f, 2, line)
		require.False(t, seen[f[0]], "twice: %s", f[0])
		seen[f[0]] = true
		if want := f[0] + " " + cdpSum(defined, f[0]); want != strings.TrimSpace(line) {
			wrong = append(wrong, want)
		}
	}
	require.Len(t, cdp, len(seen))
	require.Empty(t, wrong, "review these, then correct cdp.txt")
}

// cdpDefinitions are the types of the DevTools protocol by Domain.name, without
// comments and white space.
func cdpDefinitions(source string) map[string]string {
	source = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(source, "")
	defined := map[string]string{}
	for _, domain := range regexp.MustCompile(`(?s)  export namespace (\w+) \{(.*?)\n  \}`).FindAllStringSubmatch(source, -1) {
		for _, d := range regexp.MustCompile(`(?s)\n    export (?:type|interface) (\w+)(.*?)(?:\n    \}|;\n)`).FindAllStringSubmatch(domain[2], -1) {
			defined[domain[1]+"."+d[1]] = regexp.MustCompile(`\s+`).ReplaceAllString(d[2], "")
		}
	}
	return defined
}

// cdpSum is of the method's parameters and of all types that they refer to.
func cdpSum(defined map[string]string, method string) string {
	used := map[string]string{}
	var use func(name string)
	use = func(name string) {
		text, ok := defined[name]
		if _, done := used[name]; done || !ok {
			return
		}
		used[name] = text
		domain, _, _ := strings.Cut(name, ".")
		for _, ref := range regexp.MustCompile(`[A-Z]\w*(\.\w+)?`).FindAllString(text, -1) {
			if !strings.Contains(ref, ".") {
				ref = domain + "." + ref
			}
			use(ref)
		}
	}
	use(method + "Parameters")
	if len(used) == 0 {
		return "undefined"
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(used)) {
		sum.Write([]byte(name + "=" + used[name] + "\n"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}
