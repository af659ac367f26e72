package browser

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A browser of gigabytes that crashes must not fill the disk, though the worker
// itself may write core files.
func TestABrowserWritesNoCoreFiles(t *testing.T) {
	allowCoreFiles(t)
	s := supervise(t, func(*Options) {})
	up := s.next()
	require.True(t, up.Up)
	for _, pid := range usersOf(s.base) {
		limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "limits"))
		require.NoError(t, err)
		require.Regexp(t, `Max core file size +0 +0 `, string(limits))
	}

	if pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern"); err != nil || bytes.ContainsAny(pattern, "|/") {
		t.Skipf("core files do not go where a process works here: %s%v", pattern, err)
	}
	made := madeIn(t, filepath.Join(filepath.Dir(up.Socket), tempName))
	require.NoError(t, syscall.Kill(s.pid("/usr/lib/chromium/chromium-headless-shell\x00--disable"), syscall.SIGSEGV))
	require.False(t, s.next().Up)
	require.True(t, s.next().Up)
	for _, name := range made() {
		require.False(t, strings.HasPrefix(name, "core"), name)
	}
}

// allowCoreFiles raises the test's own limit as far as may be.
func allowCoreFiles(t *testing.T) {
	t.Helper()
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &before))
	if before.Max == 0 {
		t.Skip("nothing may write core files here")
	}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: before.Max, Max: before.Max}))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &before)) })
}

// madeIn lists the files that have been made in a folder since, also when the
// folder is gone by then.
func madeIn(t *testing.T, dir string) (list func() []string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
	require.NoError(t, err)
	return func() (names []string) {
		buf := make([]byte, 64<<10)
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EAGAIN {
				return names
			}
			require.NoError(t, err)
			for b := buf[:n]; len(b) > 0; {
				const header = unix.SizeofInotifyEvent
				size := header + int(binary.NativeEndian.Uint32(b[header-4:]))
				names = append(names, string(bytes.TrimRight(b[header:size], "\x00")))
				b = b[size:]
			}
		}
	}
}
