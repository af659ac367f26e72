package integration_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Films of pages come whole to a stock client of a guarded and confined worker,
// which keeps neither a film nor an ffmpeg of a client that has left.
func TestVideos(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.ffmpeg": harness.Ffmpeg(t)}})
	guardClient(t, "video.mjs", p.URL("name=video"), "records", p.Scratch())

	films := func() []string {
		found, err := filepath.Glob(filepath.Join(p.Scratch(), "pwdist-worker-*/*/tmp/playwright-artifacts-*/*.webm"))
		require.NoError(t, err)
		return found
	}
	harness.Await(t, "the worker has removed the films", func() bool { return len(films()) == 0 })
	harness.Await(t, "nothing films any more", func() bool {
		for _, process := range harness.Descendants(p.Workers[0].Process().PID()) {
			if strings.Contains(process.Command, ".webm") {
				return false
			}
		}
		return true
	})
}

// Without an ffmpeg a page that is to be filmed fails alone.
func TestAWorkerWithoutVideos(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.ffmpeg": "none"}})
	guardClient(t, "video.mjs", p.URL("name=none"), "none", p.Scratch())
}
