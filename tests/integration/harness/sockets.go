package harness

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listening lists the addresses, host:port, at which a process listens for TCP
// connections.
func Listening(pid int) []string {
	var all []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table)) // the process may have gone
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !HasSocket(pid, f[9]) {
				continue
			}
			all = append(all, address(f[1]))
		}
	}
	return all
}

// HasSocket tells whether a process has the socket of this inode open.
func HasSocket(pid int, inode string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); target == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// address reads one as /proc writes it: words of 32 bits in the machine's
// order, then the port.
func address(s string) string {
	host, port, _ := strings.Cut(s, ":")
	ip, err := hex.DecodeString(host)
	if err != nil {
		return s
	}
	for i := 0; i+4 <= len(ip); i += 4 {
		ip[i], ip[i+1], ip[i+2], ip[i+3] = ip[i+3], ip[i+2], ip[i+1], ip[i]
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return s
	}
	return net.JoinHostPort(net.IP(ip).String(), strconv.FormatUint(n, 10))
}
