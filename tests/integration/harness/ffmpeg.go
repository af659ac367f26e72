package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Ffmpeg is the path of an ffmpeg that can record videos: the one that is
// installed with the Node clients, or the system's on machines for which there is
// no such package.
func Ffmpeg(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		path := filepath.Join(NodeDir(), "node_modules/@ffmpeg-installer/linux-x64/ffmpeg")
		// The package's own script would do that, where npm runs such.
		if err := os.Chmod(path, 0o755); err != nil {
			tb.Fatalf("the ffmpeg of the Node clients is not installed: run make install-test (%v)", err)
		}
		return path
	}
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		tb.Skip("there is no ffmpeg: install your system's")
	}
	return path
}
