package egress

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClassesOfAddresses(t *testing.T) {
	for address, want := range map[string]Class{
		"127.0.0.1": Loopback, "127.255.255.254": Loopback, "::1": Loopback, "::ffff:127.0.0.1": Loopback, "::ffff:7f00:1": Loopback,
		"10.0.0.0": Private, "10.255.255.255": Private, "172.16.0.1": Private, "172.31.255.255": Private, "192.168.0.1": Private,
		"::ffff:10.1.2.3": Private, "fc00::1": Private, "fd00::1": Private, "fdff:ffff::1": Private,
		"100.64.0.1": Private, "100.127.255.255": Private,
		"169.254.0.1": LinkLocal, "fe80::1": LinkLocal, "fe80::1%lo": LinkLocal, "febf::1": LinkLocal, "::ffff:169.254.1.1": LinkLocal,
		"169.254.169.254": Metadata, "169.254.170.2": Metadata, "169.254.170.23": Metadata, "::ffff:169.254.169.254": Metadata, "fd00:ec2::254": Metadata, "fd00:ec2::254%eth0": Metadata,
		"fd00:ec2::23": Metadata, "fd20:ce::254": Metadata, "100.100.100.200": Metadata, "192.0.0.192": Metadata, "168.63.129.16": Metadata,
		"224.0.0.1": Multicast, "239.255.255.250": Multicast, "ff02::1": Multicast, "ff0e::1": Multicast,
		"0.0.0.0": Unspecified, "0.1.2.3": Unspecified, "::": Unspecified, "::ffff:0.0.0.0": Unspecified,
		"192.0.0.1": Reserved, "192.0.2.1": Reserved, "198.18.0.1": Reserved, "198.51.100.1": Reserved, "203.0.113.1": Reserved,
		"240.0.0.1": Reserved, "255.255.255.255": Reserved, "192.88.99.1": Reserved,
		"::127.0.0.1": Reserved, "::10.0.0.1": Reserved, "fec0::1": Reserved, "100::1": Reserved, "2001:db8::1": Reserved, "2001::1": Reserved,
		"64:ff9b:1::10.0.0.1": Reserved, "4000::1": Reserved, "5f00::1": Reserved, "2001:10::1": Reserved, "3fff::1": Reserved,
		// IPv4 inside of IPv6: NAT64 leads to it, 6to4 is nobody's any more.
		"64:ff9b::127.0.0.1": Loopback, "64:ff9b::7f00:1": Loopback, "64:ff9b::10.0.0.1": Private, "64:ff9b::169.254.169.254": Metadata,
		"64:ff9b::0.0.0.0": Unspecified, "64:ff9b::192.0.2.1": Reserved,
		"2002:7f00:1::": Reserved, "2002:a00:1::1": Reserved, "2002:808:808::1": Reserved,
		"8.8.8.8": Public, "9.255.255.255": Public, "11.0.0.0": Public, "172.15.255.255": Public, "172.32.0.0": Public, "100.63.255.255": Public,
		"100.128.0.0": Public, "192.167.255.255": Public, "223.255.255.255": Public, "126.255.255.255": Public, "128.0.0.1": Public,
		"::ffff:8.8.8.8": Public, "64:ff9b::8.8.8.8": Public, "2606:4700:4700::1111": Public, "2a00:1450::1": Public,
	} {
		require.Equal(t, want, classify(canonical(netip.MustParseAddr(address))), address)
	}
}

func newGuard(t *testing.T, resolver *net.Resolver, allow, deny, own []string) *guard {
	t.Helper()
	p := newProxy(t, Options{Allow: allow, Deny: deny, Own: own, Resolver: resolver})
	p.guard.machine = resolver
	p.guard.local = func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("10.0.0.9")}
	}
	return p.guard
}

func TestWhatIsAllowed(t *testing.T) {
	names := resolverFor(t, func(name string, _ int) string {
		return map[string]string{"redis.test": "10.0.0.6", "proxy.test": "10.0.0.7"}[name]
	})
	type target struct {
		host string
		port uint16
		addr string
		want Class
	}
	for name, c := range map[string]struct {
		allow, deny, own []string
		targets          []target
	}{
		"nothing": {targets: []target{
			{"example.com", 443, "8.8.8.8", Public},
			{"app.test", 80, "10.0.0.1", Private},
			{"8.8.4.4", 80, "8.8.4.4", ThisMachine},
		}},
		"a host": {allow: []string{"App.Test."}, targets: []target{
			{"app.test", 80, "10.0.0.1", Public},
			{"app.test", 9999, "127.0.0.1", Public},
			{"x.app.test", 80, "10.0.0.1", Private},
			{"10.0.0.1", 80, "10.0.0.1", Private},
			{"app.test", 80, "169.254.169.254", Metadata},
		}},
		"a host with a port": {allow: []string{"app.test:8080"}, targets: []target{
			{"app.test", 8080, "10.0.0.1", Public},
			{"app.test", 80, "10.0.0.1", Private},
		}},
		"a domain": {allow: []string{"*.app.test"}, targets: []target{
			{"a.app.test", 80, "10.0.0.1", Public},
			{"a.b.app.test", 80, "10.0.0.1", Public},
			{"app.test", 80, "10.0.0.1", Private},
			{"evilapp.test", 80, "10.0.0.1", Private},
		}},
		"a range": {allow: []string{"10.1.0.0/16", "fd01::/64"}, targets: []target{
			{"x.test", 80, "10.1.2.3", Public},
			{"x.test", 80, "::ffff:10.1.2.3", Public},
			{"x.test", 80, "fd01::7%eth0", Public},
			{"x.test", 80, "10.2.0.1", Private},
			{"x.test", 80, "fd01:0:0:1::7", Private},
		}},
		"an address": {allow: []string{"10.1.2.3", "[fd01::7]:80", "::1"}, targets: []target{
			{"x.test", 80, "10.1.2.3", Public},
			{"x.test", 80, "fd01::7", Public},
			{"x.test", 81, "fd01::7", Private},
			{"x.test", 81, "::1", Public},
			{"x.test", 80, "10.1.2.4", Private},
		}},
		"a range around what is never meant": {
			allow: []string{"0.0.0.0/0", "::/0", "app.test"}, own: []string{"redis.test:6379", "127.0.0.1:3131", "0.0.0.0:9091"},
			targets: []target{
				{"x.test", 80, "10.0.0.6", Public},
				{"x.test", 6379, "10.0.0.1", Public},
				{"redis.test", 6379, "10.0.0.1", PoolService},
				{"x.test", 6379, "10.0.0.6", PoolService},
				{"app.test", 6379, "10.0.0.6", PoolService},
				{"x.test", 6379, "::ffff:10.0.0.6", PoolService},
				{"x.test", 3131, "127.0.0.1", PoolService},
				{"x.test", 3131, "127.7.7.7", PoolService},
				{"x.test", 3131, "::1", PoolService},
				{"x.test", 3131, "0.0.0.0", PoolService},
				{"x.test", 9091, "10.0.0.9", PoolService},
				{"x.test", 9091, "8.8.4.4", PoolService},
				{"x.test", 9091, "10.0.0.1", Public},
				{"x.test", 80, "169.254.169.254", Metadata},
				{"x.test", 80, "168.63.129.16", Metadata},
			},
		},
		"the very service": {
			allow: []string{"redis.test:6379", "10.0.0.7:3131", "169.254.169.254"}, own: []string{"redis.test:6379", "10.0.0.7:3131"},
			targets: []target{
				{"redis.test", 6379, "10.0.0.6", Public},
				{"other.test", 6379, "10.0.0.6", Private},
				{"other.test", 3131, "10.0.0.7", Public},
				{"other.test", 80, "169.254.169.254", Public},
			},
		},
		"a service without its port": {allow: []string{"redis.test", "10.0.0.7", "*.test:6379"}, own: []string{"redis.test:6379", "10.0.0.7:3131"}, targets: []target{
			{"redis.test", 6379, "10.0.0.6", PoolService},
			{"x.test", 3131, "10.0.0.7", PoolService},
			{"x.test", 80, "10.0.0.7", Public},
		}},
		"a name that leads to a service": {allow: []string{"evil.test:6379"}, own: []string{"redis.test:6379"}, targets: []target{
			{"evil.test", 6379, "10.0.0.6", PoolService},
		}},
		"denied": {allow: []string{"10.0.0.0/8", "proxy.test:8080"}, deny: []string{"proxy.test", "10.5.0.0/16", "8.8.8.8:53", "*.bad.test"}, targets: []target{
			{"x.test", 80, "10.0.0.7", Denied},
			{"proxy.test", 80, "10.0.0.7", Denied},
			{"proxy.test", 8080, "10.0.0.7", Public},
			{"x.test", 80, "10.5.0.1", Denied},
			{"x.test", 53, "8.8.8.8", Denied},
			{"x.test", 443, "8.8.8.8", Public},
			{"a.bad.test", 443, "8.8.8.8", Denied},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, names, c.allow, c.deny, c.own)
			for _, to := range c.targets {
				require.Equal(t, to.want, g.check(t.Context(), to.host, to.port, netip.MustParseAddr(to.addr)), "%+v", to)
			}
		})
	}
}

// While nobody knows where Redis is, nothing with its port is open.
func TestAServiceThatCannotBeResolved(t *testing.T) {
	broken := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	g := newGuard(t, broken, []string{"10.0.0.0/8"}, []string{"proxy.test"}, []string{"redis.test:6379"})
	require.Equal(t, PoolService, g.check(t.Context(), "x.test", 6379, netip.MustParseAddr("10.0.0.6")))
	require.Equal(t, Public, g.check(t.Context(), "x.test", 80, netip.MustParseAddr("10.0.0.6")))
}

// What pages' names are asked of need not know where the pool is.
func TestNamesOfThePoolAreTheMachines(t *testing.T) {
	know := func(names map[string]string) *net.Resolver {
		return resolverFor(t, func(name string, _ int) string { return names[name] })
	}
	open, own := []string{"10.0.0.0/8"}, []string{"redis.test:6379"}
	g := newGuard(t, know(map[string]string{"both.test": "10.0.0.3"}), open, []string{"proxy.test", "both.test"}, own)
	g.machine = know(map[string]string{"redis.test": "10.0.0.6", "proxy.test": "10.0.0.7", "both.test": "10.0.0.4"})
	for target, want := range map[string]Class{
		"10.0.0.6:6379": PoolService, "10.0.0.6:80": Public, "10.0.0.5:6379": Public,
		"10.0.0.7:80": Denied, "10.0.0.3:80": Denied, "10.0.0.4:80": Denied,
	} {
		to := netip.MustParseAddrPort(target)
		require.Equal(t, want, g.check(t.Context(), "x.test", to.Port(), to.Addr()), target)
	}

	// Redis is away, and its name with it.
	g = newGuard(t, know(nil), open, nil, own)
	require.Equal(t, PoolService, g.check(t.Context(), "x.test", 6379, netip.MustParseAddr("10.0.0.6")))
	require.Equal(t, Public, g.check(t.Context(), "x.test", 80, netip.MustParseAddr("10.0.0.6")))

	// It is on this machine, under a name.
	g = newGuard(t, know(map[string]string{"redis.test": "127.0.0.1"}), open, nil, own)
	require.Equal(t, PoolService, g.check(t.Context(), "x.test", 6379, netip.MustParseAddr("10.0.0.9")))
	require.Equal(t, Public, g.check(t.Context(), "x.test", 6379, netip.MustParseAddr("10.0.0.6")))
}

// A proxy that is told of a DNS server asks it for the names of pages only.
func TestTheDNSServerOfASettingIsForPages(t *testing.T) {
	own := resolverFor(t, func(string, int) string { return "" })
	p := newProxy(t, Options{Resolver: own})
	require.Same(t, own, p.dialer.guard.resolver)
	require.Same(t, net.DefaultResolver, p.guard.machine)
}

func TestEntriesThatAreNone(t *testing.T) {
	for _, s := range []string{
		"", " ", "http://app", "app/path", "app:", "app:0", "app:65536", "app:http", "10.0.0.0/33", "10.0.0.0/8:80", "a b", "*", "*.", "a.*.b", "::ffff:10.0.0.0/104",
		"user@host", "[::1", "a:b:c",
	} {
		require.ErrorContains(t, Check("egress.allow", []string{"ok.test", s}), "egress.allow: \""+s, s)
	}
	require.NoError(t, Check("egress.allow", []string{"a", "a.b:1", "1.2.3.4", "1.2.3.4:5", "::1", "[::1]", "[::1]:5", "fd00::/8", "*.a.b:6", "münchen.test"}))
}
