package gate

import (
	"syscall"
	"unsafe"
)

// receiveNow and sendNow move bytes of a socket that does not block. They enter
// the kernel without telling the scheduler: it would make itself ready for a
// call that takes long, and wake its monitor thread where all has been idle,
// before the bytes that a client waits for are moved.

func receiveNow(fd uintptr, p []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_RECVFROM, fd, p, syscall.MSG_DONTWAIT)
}

func sendNow(fd uintptr, p []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_SENDTO, fd, p, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func transfer(call, fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0) //nolint:gosec // a buffer for the kernel
	return int(n), errno
}
