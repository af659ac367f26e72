package browser

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The modules' own tests run in Node.
func TestThePipesToTheBrowserAreFiltered(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=tap", "testdata/preload.test.mjs").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "# pass 15")
}

func TestModulesAreLoadedFromAnyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20?#")
	write(t, filepath.Join(dir, "keep"), "")
	args, err := preload(dir, true)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "node", append(args, "-e", "console.log(require('child_process').spawn.name === 'spawn')")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "false\n", string(out), "spawn is Node's own")
	u, err := url.Parse(args[1])
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "survive.mjs"), u.Path)
	u, err = url.Parse(args[3])
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "pipe.mjs"), u.Path)
	require.Equal(t, "clipboard=session", u.RawQuery)
	args, err = preload(dir, false)
	require.NoError(t, err)
	require.NotContains(t, args[3], "clipboard")
}
