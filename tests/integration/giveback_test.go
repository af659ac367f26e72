package integration_test

import (
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// What a page gives back, and what it has drawn, can be too much for the browser's
// pipe, the Playwright server or the browser. The call fails alone, and both the
// session and its neighbour go on (I9).
func TestWhatAPageGivesBackEndsNobody(t *testing.T) {
	// Chromium is busy with the largest of them for seconds, and on a busy machine for longer than a probe by default.
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.probe_timeout": "40s"}})
	guardClient(t, "giveback.mjs", p.URL("name=giveback"))
}
