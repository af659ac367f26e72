package browser

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// browserEnd returns a channel that is closed when a browser that the server
// has started ends. The server finds that out by itself, but only after it has
// told its clients, and until then it takes new sessions that cannot work.
//
// Where the kernel cannot tell (before Linux 5.3, or when the browser cannot be
// found), the channel stays open and the exit of the server is the signal.
func browserEnd(server int) <-chan struct{} {
	ended := make(chan struct{})
	var once sync.Once
	for _, pid := range childrenOf(server) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		go func() {
			defer func() { _ = unix.Close(fd) }()
			if awaitExit(fd) {
				once.Do(func() { close(ended) })
			}
		}()
	}
	return ended
}

// awaitExit waits for the end of a process. It always comes: what is left of a
// server's browser is killed when the server has ended.
func awaitExit(pidfd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // descriptors fit
		n, err := unix.Poll(fds, -1)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0
	}
}

// childrenOf lists the processes whose parent this one is.
func childrenOf(parent int) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // gone
		}
		// The name, in parentheses, may hold anything; behind it: state, parent.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
