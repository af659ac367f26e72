// Package nowait calls the kernel for what does not make it wait: sockets that do
// not block, and calls that never do. It does so without telling the scheduler.
//
// The scheduler would get ready for a call that takes long, at a cost that shows
// beside the call itself. Worse, its monitor thread would find such calls now and
// then on a busy machine, because the kernel lets another process run at their end;
// it then takes the processor away from the thread, and looks every 20 µs for a
// while, which was a fifteenth of what a session of a storm cost the proxy.
//
// Connections are accepted in another way: a listening socket may be another
// process's too, which may let it block.
package nowait

import (
	"errors"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive reads from a socket.
func Receive(fd int, p []byte) (int, error) {
	return transfer(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT)
}

// Send writes to a socket. With more the kernel may keep the end of it back, for what
// is sent next to go with.
func Send(fd int, p []byte, more bool) (int, error) {
	flags := uintptr(unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL)
	if more {
		flags |= unix.MSG_MORE
	}
	return transfer(unix.SYS_SENDTO, fd, p, flags)
}

// transfer, like all that hands a pointer over here, makes a number of it only in the arguments of the call itself:
// just there the compiler keeps what it points to alive and in its place (https://pkg.go.dev/unsafe#Pointer).
func transfer(number uintptr, fd int, p []byte, flags uintptr) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0) //nolint:gosec // a buffer for the kernel
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// Close closes a socket. Unlike the others it is not called again after a signal: the
// descriptor is closed by then.
func Close(fd int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Shutdown is shutdown(2).
func Shutdown(fd, how int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0); errno != 0 {
		return errno
	}
	return nil
}

// Connect begins to connect a TCP socket of the address's family, which must not
// block. EINPROGRESS is no error.
func Connect(fd int, to netip.AddrPort) error {
	var address unsafe.Pointer
	var size uintptr
	if ip := to.Addr().Unmap(); ip.Is4() {
		a := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(to.Port()), Addr: ip.As4()}
		address, size = unsafe.Pointer(a), unsafe.Sizeof(*a) //nolint:gosec // for the kernel
	} else {
		a := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(to.Port()), Addr: ip.As16()}
		address, size = unsafe.Pointer(a), unsafe.Sizeof(*a) //nolint:gosec // for the kernel
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(address), size)
	if errno == 0 || errno == unix.EINPROGRESS || errno == unix.EINTR {
		return nil
	}
	return os.NewSyscallError("connect", errno)
}

// networkOrder turns a port around, which is how addresses have it.
func networkOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port)) //nolint:gosec // two bytes are two bytes
	return uint16(b[0])<<8 | uint16(b[1])
}

// Poll reports whether one of the events, an error or a hang-up is there.
func Poll(fd int, events int16) bool {
	fds := unix.PollFd{Fd: int32(fd), Events: events} //nolint:gosec // descriptors fit
	var now unix.Timespec
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0) //nolint:gosec // for the kernel
		if errno != unix.EINTR {
			return errno == 0 && n > 0
		}
	}
}

// Set sets an option of a socket to a number.
func Set(fd, level, option, value int) error {
	v := int32(value) //nolint:gosec // as unix has it
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)), 4, 0) //nolint:gosec // for the kernel
		if errno == 0 {
			return nil
		}
		if !errors.Is(errno, unix.EINTR) {
			return os.NewSyscallError("setsockopt", errno)
		}
	}
}
