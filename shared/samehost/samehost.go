// Package samehost is for TCP connections between two processes of one machine.
package samehost

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpace has the kernel send what the socket fd is given as soon as the peer has
// room for it, if the peer is on this machine. It does nothing where that is so
// already, with other peers, and with what is not TCP.
//
// BBR sends in portions, by a timer. Between machines that keeps queues short, and
// which congestion control is used there is for whoever runs them to say
// (net.ipv4.tcp_congestion_control). On loopback there is no queue: nothing is won by
// it, and each portion costs an interrupt and a process woken, so that bytes take
// more than twice the CPU. To leave BBR is enough, though the kernel goes on to
// compute a pace: without BBR's model that is above what loopback carries.
func Unpace(fd int) {
	if !paced(fd) || !local(fd) {
		return
	}
	// What cannot be set is as quick as before.
	_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, unpaced)
}

// unpaced is a congestion control without a pace of its own, which every Linux has and
// lets any process choose. (With CUBIC a connection that began with BBR carries a fifth less.)
const unpaced = "reno"

func paced(fd int) bool {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return err == nil && strings.HasPrefix(name, "bbr")
}

// local tells whether the other end of a connection is on this machine. It then has
// an address of loopback, or the one that this end has.
func local(fd int) bool {
	here, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	there, err := unix.Getpeername(fd)
	return err == nil && sameHost(address(here), address(there))
}

func sameHost(here, there netip.Addr) bool {
	return there.IsValid() && (there.IsLoopback() || there == here)
}

func address(s unix.Sockaddr) netip.Addr {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(s.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(s.Addr).Unmap()
	}
	return netip.Addr{}
}
