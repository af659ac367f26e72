package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// whenReaderGone calls f once nobody reads from the pipe any longer. A write would
// tell as well, but on a quiet pool the next write may be far away, and
// "tail | head" would hang until then.
func whenReaderGone(out *os.File, f func()) {
	info, err := out.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	fd := int32(out.Fd()) //nolint:gosec // descriptors are small
	go func() {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && n > 0 {
				f()
			}
			return
		}
	}()
}
