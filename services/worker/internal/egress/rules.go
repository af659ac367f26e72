package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// entry is one thing that an operator named: a host, an address, a range, each
// of them with a port or for all ports.
type entry struct {
	name   string // in lower case; begins with a dot for all names below a domain
	prefix netip.Prefix
	port   uint16 // 0 = all
}

// parseEntry reads name, name:port, *.domain, address, address:port, range.
func parseEntry(s string) (entry, error) {
	wrong := func(why string) (entry, error) {
		return entry{}, fmt.Errorf("%q %s: it must be a host, *.domain, an IP address, each with or without a port, or a range such as 10.1.0.0/16", s, why)
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() {
			return wrong("is an IPv4 range in the form of IPv6")
		}
		return entry{prefix: p.Masked()}, nil
	}
	var e entry
	host := s
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") && !strings.HasSuffix(s, "]") {
		var port string
		if host, port, err = net.SplitHostPort(s); err != nil {
			return wrong("is none")
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return wrong("has no such port")
		}
		e.port = uint16(n)
	}
	host = trimBrackets(host)
	if a, err := netip.ParseAddr(host); err == nil {
		a = canonical(a)
		e.prefix = netip.PrefixFrom(a, a.BitLen())
		return e, nil
	}
	e.name = normal(host)
	if rest, ok := strings.CutPrefix(e.name, "*."); ok {
		e.name = "." + rest
	}
	if strings.Trim(e.name, ".") == "" || strings.ContainsAny(e.name, "/*@:?# \t") {
		return wrong("is none")
	}
	return e, nil
}

// normal is a host's name in the form in which names are compared.
func normal(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// single tells whether the entry is one host or address rather than many.
func (e entry) single() bool {
	if e.name != "" {
		return e.name[0] != '.'
	}
	return e.prefix.IsSingleIP()
}

func (e entry) matchesPort(port uint16) bool { return e.port == 0 || e.port == port }

// matchesName looks at the name that somebody asked for.
func (e entry) matchesName(host string) bool {
	switch {
	case e.name == "":
		return false
	case e.name[0] == '.':
		return strings.HasSuffix(host, e.name)
	}
	return host == e.name
}

func (e entry) matchesAddr(a netip.Addr) bool { return e.name == "" && e.prefix.Contains(a) }

// entries are those of a setting.
type entries []entry

// parseEntries reads a list; the error names the setting.
func parseEntries(setting string, list []string) (entries, error) {
	var all entries
	for _, s := range list {
		e, err := parseEntry(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// allow tells whether a target is named, by its name or its address.
func (es entries) allow(host string, port uint16, a netip.Addr) bool {
	return slices.ContainsFunc(es, func(e entry) bool {
		return e.matchesPort(port) && (e.matchesName(host) || e.matchesAddr(a))
	})
}

// nameAddr tells whether this very address is named, not just a range around
// it or a name that leads to it.
func (es entries) nameAddr(port uint16, a netip.Addr) bool {
	return slices.ContainsFunc(es, func(e entry) bool { return e.single() && e.matchesPort(port) && e.matchesAddr(a) })
}

// namePair tells whether this very pair is named: that entry with its own port,
// or the address with that port.
func (es entries) namePair(of entry, port uint16, a netip.Addr) bool {
	return slices.ContainsFunc(es, func(e entry) bool {
		return e.single() && e.port == port && (e.matchesAddr(a) || e.name != "" && e.name == of.name)
	})
}

// Check says what is wrong with the entries of a setting.
func Check(setting string, list []string) error {
	_, err := parseEntries(setting, list)
	return err
}
