package relay

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// socketInode identifies the socket behind a descriptor; 0 when it has gone.
func socketInode(fd int) uint64 {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0
	}
	return st.Ino
}

// pin makes a second descriptor for a socket. Another goroutine may close fd
// at any time, and the kernel may give its number to another session's socket;
// the inode tells whether the copy is of the socket that was meant.
func pin(fd int, inode uint64) (int, bool) {
	if inode == 0 {
		return 0, false
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	if socketInode(dup) != inode {
		_ = syscall.Close(dup)
		return 0, false
	}
	return dup, true
}

// peerClosed asks the kernel whether the peer has sent FIN or reset the
// connection. A wrong answer for a descriptor that was closed meanwhile is
// harmless: pin looks again.
func peerClosed(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // descriptors fit
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	}
}
