package browser

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// stray starts a process in a session of its own, as a browser is, with its
// scratch files in dir, and returns when it runs.
func stray(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("setsid", "--wait", "sh", "-c", "echo up; sleep 1000 & wait")
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(dir, "1", "tmp"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd
}

func TestADeadWorkersLeftoversGo(t *testing.T) {
	base := t.TempDir()
	old, err := newScratch(base, zap.NewNop())
	require.NoError(t, err)
	write(t, filepath.Join(old.child(1), "tmp", "profile", "file"), "")
	left := stray(t, old.root)

	other, err := newScratch(base, zap.NewNop())
	require.NoError(t, err)
	require.DirExists(t, old.root, "its worker lives")
	require.NoError(t, left.Process.Signal(syscall.Signal(0)), "and so do its processes")

	require.NoError(t, old.lock.Close()) // as the kernel does when the worker dies
	third, err := newScratch(base, zap.NewNop())
	require.NoError(t, err)
	require.NoDirExists(t, old.root)
	require.Empty(t, usersOf(old.root))
	require.Error(t, left.Wait(), "it was killed")

	require.DirExists(t, other.root)
	other.close()
	third.close()
	entries, err := os.ReadDir(base)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestForeignAndNewbornDirectoriesStay(t *testing.T) {
	base := t.TempDir()
	newborn := filepath.Join(base, scratchPrefix+"1-2")
	abandoned := filepath.Join(base, scratchPrefix+"1-3")
	file := filepath.Join(base, scratchPrefix+"1-4")
	require.NoError(t, os.Mkdir(newborn, 0o700))
	require.NoError(t, os.Mkdir(abandoned, 0o700))
	hourAgo := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(abandoned, hourAgo, hourAgo))
	write(t, file, "")
	removeLeftovers(base, zap.NewNop())
	require.DirExists(t, newborn, "its worker may be about to lock it")
	require.NoDirExists(t, abandoned)
	require.FileExists(t, file)
}

func TestALongTempDirDoesNotMatter(t *testing.T) {
	base := filepath.Join(t.TempDir(), "a-directory-with-a-name-that-leaves-no-room-for-the-path-of-a-socket")
	require.NoError(t, os.Mkdir(base, 0o700))
	s, err := newScratch(base, zap.NewNop())
	require.NoError(t, err)
	defer s.close()
	require.LessOrEqual(t, len(filepath.Join(s.child(999_999), socketName)), maxSocketPath)
}

func TestWorkersThatStartTogetherLeaveEachOtherAlone(t *testing.T) {
	base := t.TempDir()
	const rounds, workers = 20, 16
	for range rounds {
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				s, err := newScratch(base, zap.NewNop())
				if err == nil {
					_, err = os.Stat(filepath.Join(s.root, lockName))
					s.close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
	}
	left, err := os.ReadDir(base)
	require.NoError(t, err)
	require.Empty(t, left)
}
