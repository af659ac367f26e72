package edge

import "net/netip"

// addressOf is what limits for each address count: an IPv4 address, or the /64
// that one customer of IPv6 has at least. The zero prefix stands for whatever
// is none.
func addressOf(host string) netip.Prefix {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
		if a.IsLoopback() {
			bits = 128
		}
	}
	p, _ := a.Prefix(bits) // the number of bits fits
	return p
}
