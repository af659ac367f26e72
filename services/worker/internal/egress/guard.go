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
	kept     []kept              // closed, whatever range is open
	resolver *net.Resolver       // for what pages ask
	machine  *net.Resolver       // as the worker itself finds the pool's services
	local    func() []netip.Addr // addresses of this machine

	mu    sync.Mutex
	cache map[question]lookup
}

// kept is an endpoint that stays closed.
type kept struct {
	entry
	class Class
}

type question struct {
	resolver *net.Resolver
	name     string
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
		if k.class == PoolService && isHere(k.prefix.Addr()) {
			return g.isLocal(a)
		}
		return k.matchesAddr(a)
	}
	if k.matchesName(host) {
		return true
	}
	if k.name[0] == '.' {
		return false
	}
	if k.class == PoolService {
		addrs := g.lookup(ctx, g.machine, k.name)
		// Where nobody knows its address now, the port is all there is to go by.
		return len(addrs) == 0 || slices.Contains(addrs, a) || slices.ContainsFunc(addrs, isHere) && g.isLocal(a)
	}
	// The operator means the name as pages find it, and as this machine does.
	return slices.Contains(g.lookup(ctx, g.resolver, k.name), a) ||
		g.machine != g.resolver && slices.Contains(g.lookup(ctx, g.machine, k.name), a)
}

// isHere tells whether what is there is served by this machine alone.
func isHere(a netip.Addr) bool { return a.IsUnspecified() || a.IsLoopback() }

// isLocal tells whether an address is this machine's. What it serves is there
// under each of them, or may be.
func (g *guard) isLocal(a netip.Addr) bool { return isHere(a) || slices.Contains(g.local(), a) }

// lookup returns the addresses of a name: none where it has none, and the last
// known ones where it cannot be resolved now.
func (g *guard) lookup(ctx context.Context, r *net.Resolver, name string) []netip.Addr {
	q := question{r, name}
	g.mu.Lock()
	known := g.cache[q]
	g.mu.Unlock()
	if !known.at.IsZero() && time.Since(known.at) < lookupAge {
		return known.addrs
	}
	addrs, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil {
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			return known.addrs
		}
	}
	for i := range addrs {
		addrs[i] = canonical(addrs[i])
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cache[q] = lookup{addrs: addrs, at: time.Now()}
	return addrs
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
