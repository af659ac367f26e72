package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trusted are the balancers whose word about a client's address counts.
type Trusted []netip.Prefix

// ParseTrusted reads addresses and ranges (CIDR).
func ParseTrusted(list []string) (Trusted, error) {
	t := make(Trusted, 0, len(list))
	var errs []error
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if a, e := netip.ParseAddr(text); e == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("%q is neither an address nor a range: use the form 10.0.0.5 or 10.0.0.0/24", text))
		case p != p.Masked():
			errs = append(errs, fmt.Errorf("%q is an address inside of the range %s: use one of them", text, p.Masked()))
		default:
			t = append(t, p)
		}
	}
	return t, errors.Join(errs...)
}

// trustsHost is trusts of an address as text.
func (t Trusted) trustsHost(host string) bool {
	if len(t) == 0 {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && t.trusts(a)
}

// trusts tells whether an address is one of theirs.
func (t Trusted) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(a) })
}

const forwardedFor = "X-Forwarded-For"

// client is the address of the client of a request that came from remote. Each
// balancer appends the address of whoever came to it, so what the list says is
// true from its end up to the first address that is not a balancer's, which wrote
// whatever stands before it. A balancer that named no address ends it as well.
func (t Trusted) client(remote string, h http.Header) string {
	if !t.trustsHost(remote) {
		return remote
	}
	list := h.Values(forwardedFor)
	for _, line := range slices.Backward(list) {
		for more := true; more; {
			var entry string
			if at := strings.LastIndexByte(line, ','); at >= 0 {
				line, entry = line[:at], line[at+1:]
			} else {
				entry, more = line, false
			}
			said, ok := forwarded(entry)
			if !ok {
				return remote
			}
			if remote = said.String(); !t.trusts(said) {
				return remote
			}
		}
	}
	return remote
}

// forwarded reads an address as balancers write it, some of them with the port.
func forwarded(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	a, err := netip.ParseAddr(entry)
	if err != nil && strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]") {
		a, err = netip.ParseAddr(entry[1 : len(entry)-1])
	} else if err != nil {
		p, e := netip.ParseAddrPort(entry)
		a, err = p.Addr(), e
	}
	return a.Unmap(), err == nil && a.Zone() == "" && !a.IsUnspecified()
}
