package integration_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The guard judges addresses that clients name. Those to which a page goes by
// itself are the browser's to refuse where they are its machine's, as it does with
// no confinement behind it.
func TestPagesDoNotOpenTheMachine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "canary.html")
	require.NoError(t, os.WriteFile(file, []byte("secret of the disk"), 0o644))
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.confine": "off"}})
	guardClient(t, "schemes.mjs", p.URL("name=schemes"), file)
}
