package confine

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What a filter looks at: struct seccomp_data. Of 64-bit arguments the lower
// half says it all here, on machines with the small end first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
	sizeArg   = 8
)

// Actions of a filter.
const (
	retAllow = 0x7fff0000
	retErrno = 0x00050000
)

// fastOpen connects by sending, so it is checked where sending is.
const fastOpen = unix.MSG_FASTOPEN

// x32 numbers system calls of a second table on amd64.
const x32 = 0x40000000

var arch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

func arg(n uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offArgs + sizeArg*n, Size: 4} }

func deny(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: retErrno | uint32(errno)} //nolint:gosec // error numbers are small
}

var permit = bpf.RetConstant{Val: retAllow}

// call is what is done about one system call; it ends in a verdict.
func call(number uint32, verdict ...bpf.Instruction) []bpf.Instruction {
	past := uint8(len(verdict)) //nolint:gosec // a dozen at most
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: past}}, verdict...)
}

// socketFilter leaves TCP and what stays inside this machine's kernel.
// io_uring would do the same and more without system calls that a filter sees.
func socketFilter() []bpf.Instruction {
	equal := func(val uint32, skip uint8) bpf.Instruction {
		return bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: skip}
	}
	unequal := func(val uint32, skip uint8) bpf.Instruction {
		return bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: val, SkipTrue: skip}
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		equal(arch[runtime.GOARCH], 1),
		deny(unix.ENOSYS), // another machine's numbers
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	if runtime.GOARCH == "amd64" {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32, SkipTrue: 1}, deny(unix.ENOSYS))
	}
	for _, number := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER} {
		program = append(program, call(number, deny(unix.ENOSYS))...)
	}
	for number, flags := range map[uint32]uint32{unix.SYS_SENDTO: 3, unix.SYS_SENDMSG: 2, unix.SYS_SENDMMSG: 3} {
		program = append(program, call(number,
			arg(flags),
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: fastOpen, SkipTrue: 1},
			permit,
			deny(unix.EACCES),
		)...)
	}
	return slices.Concat(program, call(unix.SYS_SOCKET,
		arg(0),
		equal(unix.AF_UNIX, 9),
		equal(unix.AF_NETLINK, 8),
		equal(unix.AF_INET, 1),
		unequal(unix.AF_INET6, 7),
		arg(1), // the type, with flags above it
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		unequal(unix.SOCK_STREAM, 4),
		arg(2),
		equal(0, 1),
		unequal(unix.IPPROTO_TCP, 1), // MPTCP, for one, is none of Landlock's business
		permit,
		deny(unix.EACCES),
	), []bpf.Instruction{permit})
}

// canFilter tells whether the filter can be used here.
func canFilter() bool {
	if arch[runtime.GOARCH] == 0 {
		return false
	}
	action := uint32(retErrno)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))) //nolint:gosec // the kernel reads it during the call
	return errno == 0
}

// filterSockets puts the filter on the calling thread.
func filterSockets() error {
	if !canFilter() {
		return nil
	}
	raw, err := bpf.Assemble(socketFilter())
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}                                           //nolint:gosec // less than a hundred
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))) //nolint:gosec // as above
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
