package edge

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzVersion compares with what is meant.
func FuzzVersion(f *testing.F) {
	for _, agent := range []string{
		"", "Playwright/", "Playwright/1", "Playwright/1.", "Playwright/.5", "Playwright/1.5", "Playwright/01.005.6", "Playwright/1..5", "playwright/1.5",
		"Playwright/1.56.1 (x64; debian 12) node/20.1", "Playwright/1.5\n", "\nPlaywright/1.5", " Playwright/1.5", "Playwright/1.٥", "Playwright/1:5",
		"Playwright//1.5", "Playwright/1.5/", "Playwright/9876543210.0123456789", "Playwright/1x.5", "1.5", "1:.5", "1.5:", "/.5",
	} {
		f.Add(agent)
		f.Add("Playwright/" + agent)
	}
	version := regexp.MustCompile(`^Playwright/(\d+)\.(\d+)`)
	f.Fuzz(func(t *testing.T, agent string) {
		want := ""
		if m := version.FindStringSubmatch(agent); m != nil {
			want = m[1] + "." + m[2]
		}
		require.Equal(t, want, versionOf(agent))
	})
}
