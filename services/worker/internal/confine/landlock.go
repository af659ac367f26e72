package confine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Versions of Landlock, by what they brought.
const (
	abiFiles    = 1
	abiRefer    = 2
	abiTruncate = 3
	abiNetwork  = 4
	abiIoctl    = 5
	abiScope    = 6
)

// Rights to files.
const (
	readDir  = unix.LANDLOCK_ACCESS_FS_READ_DIR
	reading  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | readDir
	ofFiles  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	allAtABI = 1<<13 - 1 // of the first version
	devices  = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
)

const rulePort = 2 // LANDLOCK_RULE_NET_PORT

// landlockABI is the version of the kernel's Landlock; 0 = there is none.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// handled are the rights to files that a version knows.
func handled(abi int) uint64 {
	rights := uint64(allAtABI)
	if abi >= abiRefer {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= abiTruncate {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= abiIoctl {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}

// restrict applies as much of the rules as this version of Landlock can.
func (r *Rules) restrict(abi int) error {
	if abi < abiFiles {
		return nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled(abi)}
	if abi >= abiNetwork && r.HoldNetwork {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= abiScope {
		// The worker is not its to end, and nobody's abstract sockets are its to open.
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	size := unsafe.Sizeof(attr)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0) //nolint:gosec // the kernel reads it during the call
	if errno != 0 {
		return fmt.Errorf("landlock: make a ruleset: %w", errno)
	}
	rules := int(fd)
	defer func() { _ = unix.Close(rules) }()
	for _, list := range []struct {
		paths  []string
		rights uint64
	}{{r.Read, reading}, {r.Write, handled(abi) &^ (unix.LANDLOCK_ACCESS_FS_EXECUTE | devices)}} {
		for _, path := range list.paths {
			if err := allowPath(rules, path, list.rights); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("landlock: %s: %w", path, err)
			}
		}
	}
	if attr.Handled_access_net != 0 {
		for _, port := range r.Ports {
			if err := allowPort(rules, port); err != nil {
				return fmt.Errorf("landlock: port %d: %w", port, err)
			}
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

func allowPath(rules int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= ofFiles
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)} //nolint:gosec // a descriptor
	return addRule(rules, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr))      //nolint:gosec // as above
}

func allowPort(rules int, port uint16) error {
	attr := struct{ access, port uint64 }{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(port)}
	return addRule(rules, rulePort, unsafe.Pointer(&attr)) //nolint:gosec // as above
}

func addRule(rules int, kind uintptr, attr unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), kind, uintptr(attr), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
