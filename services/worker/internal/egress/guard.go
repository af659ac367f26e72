package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Refusal is the error of a connection that the guard does not make.
type Refusal struct {
	Target string // host:port as it was asked for
	Class  Class
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("the pool's egress guard refuses %s: that is %s", r.Target, text[r.Class])
}

// guard decides which connections are made.
type guard struct {
	allow    entries
	kept     []kept // closed, whatever range is open
	resolver *net.Resolver
	local    func() []netip.Addr // addresses of this machine

	mu    sync.Mutex
	cache map[string]lookup
}

// kept is an endpoint that stays closed.
type kept struct {
	entry
	class Class
}

type lookup struct {
	addrs []netip.Addr
	at    time.Time
}

// lookupAge is how long the addresses of a kept endpoint's name are believed.
const lookupAge = 5 * time.Second

// check returns why a target must not be dialled; host is the name or address
// that was asked for, a one that it has.
func (g *guard) check(ctx context.Context, host string, port uint16, a netip.Addr) Class {
	a = canonical(a)
	for _, k := range g.kept {
		if k.matchesPort(port) && g.leadsTo(ctx, k, host, a) && !g.allow.namePair(k.entry, port, a) {
			return k.class
		}
	}
	class := classify(a)
	if class == Public && slices.Contains(g.local(), a) {
		class = ThisMachine
	}
	switch {
	case class == Public:
		return Public
	case class == Metadata:
		// Credentials of the machine are no part of a range that somebody opened.
		if g.allow.nameAddr(port, a) {
			return Public
		}
	case g.allow.allow(host, port, a):
		return Public
	}
	return class
}

// leadsTo tells whether an address, or the name that was asked for, is a kept
// endpoint's.
func (g *guard) leadsTo(ctx context.Context, k kept, host string, a netip.Addr) bool {
	if k.name == "" {
		here := k.prefix.Addr().IsUnspecified() || k.prefix.Addr().IsLoopback()
		if k.class == PoolService && here {
			// What this machine serves is there under each of its addresses, or may be.
			return a.IsLoopback() || a.IsUnspecified() || slices.Contains(g.local(), a)
		}
		return k.matchesAddr(a)
	}
	if k.matchesName(host) {
		return true
	}
	if k.name[0] == '.' {
		return false
	}
	addrs, ok := g.lookup(ctx, k.name)
	// Nobody knows where it is now, and the port is right.
	unknown := !ok && k.class == PoolService
	return unknown || slices.Contains(addrs, a)
}

// lookup returns the addresses of a name, the last known ones where it cannot
// be resolved now.
func (g *guard) lookup(ctx context.Context, name string) (addrs []netip.Addr, ok bool) {
	g.mu.Lock()
	known := g.cache[name]
	g.mu.Unlock()
	if !known.at.IsZero() && time.Since(known.at) < lookupAge {
		return known.addrs, true
	}
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			return known.addrs, !known.at.IsZero()
		}
	}
	for i := range addrs {
		addrs[i] = canonical(addrs[i])
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cache[name] = lookup{addrs: addrs, at: time.Now()}
	return addrs, true
}

// dialer connects to targets that the guard allows.
type dialer struct {
	guard   *guard
	timeout time.Duration
	refused func(*Refusal)
}

// dial connects. What is checked is the address that the kernel is about to
// connect to, after the name was resolved: a name that resolves to something
// else a moment later gains nothing. The error is a *Refusal where the guard
// refused one of the target's addresses and none of the others could be reached.
func (d *dialer) dial(ctx context.Context, network, target string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	host = normal(host)
	var (
		mu      sync.Mutex // two families of addresses are tried side by side
		refused *Refusal
	)
	n := net.Dialer{
		Timeout:  d.timeout,
		Resolver: d.guard.resolver,
		ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("egress: an address that cannot be checked: %w", err)
			}
			class := d.guard.check(ctx, host, to.Port(), to.Addr())
			if class == Public {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			refused = &Refusal{Target: net.JoinHostPort(host, service), Class: class}
			return refused
		},
	}
	c, err := n.DialContext(ctx, network, net.JoinHostPort(host, service))
	if err == nil {
		return c, nil
	}
	mu.Lock()
	defer mu.Unlock()
	if refused != nil {
		d.refused(refused)
		return nil, refused
	}
	return nil, err
}

// localAddrs are the addresses of this machine's interfaces.
func localAddrs() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // nothing to compare with; the classes stand
	}
	addrs := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, canonical(p.Addr()))
		}
	}
	return addrs
}
