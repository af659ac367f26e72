package relay

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receive and send move bytes of a socket that does not block. They enter the
// kernel without telling the scheduler: it would make itself ready for a call
// that takes long, at a cost that shows beside the call itself.

func receive(fd int, p []byte) (int, error) {
	return transfer(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT)
}

func send(fd int, p []byte, flags int) (int, error) {
	return transfer(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL|flags)
}

func transfer(call uintptr, fd int, p []byte, flags int) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0) //nolint:gosec // a buffer for the kernel
		switch {
		case errno == 0:
			return int(n), nil
		case errors.Is(errno, unix.EINTR):
		default:
			return -1, errno
		}
	}
}
