package browser

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Scratch files count where they are memory, and nowhere else.
func TestScratchFilesInMemory(t *testing.T) {
	const size = 8 << 20
	for parent, memory := range map[string]bool{"/dev/shm": true, ".": false} {
		t.Run(parent, func(t *testing.T) {
			var fs unix.Statfs_t
			require.NoError(t, unix.Statfs(parent, &fs))
			if memory != (fs.Type == unix.TMPFS_MAGIC) {
				t.Skip("not so on this machine")
			}
			dir, err := os.MkdirTemp(parent, "memory-test-")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			const nobody = math.MaxInt32 // no process has this id
			s := &Supervisor{current: &generation{Endpoint: Endpoint{Socket: filepath.Join(dir, socketName)}, server: nobody}}
			write(t, filepath.Join(dir, tempName, "playwright-artifacts-x", "resources", "page"), strings.Repeat("x", size))
			for _, enough := range []int64{0, math.MaxInt64} {
				if held := s.Memory(enough); memory {
					require.InDelta(t, size, held, 1<<20)
				} else {
					require.Zero(t, held)
				}
			}

			hole := filepath.Join(dir, tempName, "hole")
			write(t, hole, "")
			require.NoError(t, os.Truncate(hole, 1<<30))
			require.Less(t, s.Memory(0), int64(2*size))
		})
	}
}
