package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// needLandlock skips a test where the kernel cannot confine connections.
func needLandlock(t *testing.T) {
	t.Helper()
	const withConnections = 4
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < withConnections {
		t.Skip("this kernel's Landlock cannot confine connections: it needs Linux 6.7")
	}
}

// What a browser shows of the worker's disk with nothing between it and its
// clients: nothing but what it needs itself, and all where it is not confined.
func TestFilesOfTheWorker(t *testing.T) {
	needLandlock(t)
	canary := filepath.Join(t.TempDir(), "canary")
	require.NoError(t, os.WriteFile(canary, []byte("secret of the disk"), 0o644))
	files := map[string]string{canary: "secret of the disk", "/etc/passwd": "root:"}
	shown := func(t *testing.T, b *harness.Browser, url string) string {
		t.Helper()
		page := b.NewContext(t).NewPage(t)
		if err := page.Goto(url); err != nil {
			return err.Error()
		}
		text, err := page.Text()
		require.NoError(t, err)
		return text
	}
	for _, c := range []struct {
		confine string
		reads   bool
	}{{"off", true}, {"on", false}} {
		t.Run("browser.confine="+c.confine, func(t *testing.T) {
			p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"guard.enabled": "false", "browser.confine": c.confine}})
			worker := p.Workers[0].Process()
			b := harness.Connect(t, p.URL(""))
			for path, secret := range files {
				for _, scheme := range []string{"file://", "view-source:file://"} {
					text := shown(t, b, scheme+path)
					if c.reads {
						require.Contains(t, text, secret, scheme+path)
					} else {
						require.NotContains(t, text, secret, scheme+path)
						require.Contains(t, text, "ERR_ACCESS_DENIED", scheme+path)
					}
				}
			}
			environ := fmt.Sprintf("/proc/%d/environ", worker.PID())
			if text := shown(t, b, "file://"+environ); !c.reads {
				require.NotContains(t, text, "TMPDIR")
			}
			b.OpenPage(t, "http://example.com/") // it all goes on
		})
	}
}
