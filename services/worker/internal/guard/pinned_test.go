package guard

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// pinned is the text of a file of the pinned Playwright. Without that only the short
// tests go on, which are for machines where nothing is installed.
func pinned(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../playwright/node_modules/playwright-core", file))
	if os.IsNotExist(err) && testing.Short() {
		t.Skip("playwright-core is not installed: run make install-test")
	}
	require.NoError(t, err, "run make install-test")
	return string(text)
}
