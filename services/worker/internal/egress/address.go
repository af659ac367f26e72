package egress

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// Class says why an address is not one of the public Internet. It is a label
// of the metric.
type Class string

// The classes.
const (
	Public      Class = "" // none of the others
	Loopback    Class = "loopback"
	Private     Class = "private" // RFC 1918, fc00::/7 and 100.64.0.0/10, which providers use inside
	LinkLocal   Class = "link_local"
	Metadata    Class = "metadata" // where clouds hand out credentials
	Multicast   Class = "multicast"
	Unspecified Class = "unspecified" // 0.0.0.0/8 and ::, which reach this machine
	Reserved    Class = "reserved"    // everything else that no public server has
	ThisMachine Class = "this_machine"
	PoolService Class = "pool_service" // Redis, and what this worker itself serves
	Denied      Class = "denied"       // by egress.deny
)

// text is the class in the words of a refusal.
var text = map[Class]string{
	Loopback:    "a loopback address",
	Private:     "an address of a private network",
	LinkLocal:   "a link-local address",
	Metadata:    "an address of a cloud's metadata service",
	Multicast:   "a multicast address",
	Unspecified: "an address that stands for this machine",
	Reserved:    "an address that is reserved, not one of the public Internet",
	ThisMachine: "an address of the worker's own machine",
	PoolService: "a service of the pool itself",
	Denied:      "an address that the pool's operator has ruled out (egress.deny)",
}

// metadata are the addresses of metadata services, public ones among them.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("169.254.169.254"): true, // most clouds
	netip.MustParseAddr("169.254.170.2"):   true, // AWS, tasks
	netip.MustParseAddr("169.254.170.23"):  true, // AWS, pods
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd00:ec2::23"):    true, // AWS, pods
	netip.MustParseAddr("fd20:ce::254"):    true, // Google
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle
	netip.MustParseAddr("168.63.129.16"):   true, // Azure; a public address by its number
}

var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// canonical is the address that is reached in the end: without the zone of an
// interface, and the IPv4 address where IPv6 carries one.
func canonical(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if ssrf.IPv6NAT64Prefix.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// classify looks at a canonical address.
func classify(a netip.Addr) Class {
	switch {
	case metadata[a]:
		return Metadata
	case a.IsLoopback():
		return Loopback
	case a.IsPrivate(), carrierGrade.Contains(a):
		return Private
	case a.IsLinkLocalUnicast():
		return LinkLocal
	case a.IsMulticast():
		return Multicast
	case a.IsUnspecified(), a.Is4() && a.As4()[0] == 0:
		return Unspecified
	case !global(a):
		return Reserved
	}
	return Public
}

// global tells by IANA's registries whether an address can be a public
// server's. Of IPv6 that is one range only; what carries an IPv4 address by way
// of a relay (6to4, Teredo) is in none.
func global(a netip.Addr) bool {
	special := ssrf.IPv4DeniedPrefixes
	if a.Is6() {
		if !ssrf.IPv6GlobalUnicast.Contains(a) {
			return false
		}
		special = ssrf.IPv6DeniedPrefixes
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
