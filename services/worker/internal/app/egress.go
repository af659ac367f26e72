package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/egress"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

// Egress says what pages reach.
type Egress struct {
	Guard bool     `koanf:"guard" doc:"Whether pages reach the public Internet only: not this machine, not private, link-local or metadata addresses, not the pool's services. For Chromium."`
	Allow []string `koanf:"allow" doc:"What pages reach beyond that, such as the application under test: hosts, *.domain, addresses, each with or without :port, and ranges. Services of the pool only by their very host:port, metadata services only by their very address." example:"app.internal:8080,10.20.0.0/16"`
	Deny  []string `koanf:"deny" doc:"What pages do not reach although it is public or in a range of egress.allow; written as there." example:"redis,proxy,worker"`
	DNS   string   `koanf:"dns" doc:"IP address, or address:port, of the DNS server that is asked for the names of pages. Empty = this machine's, which knows internal names." example:"9.9.9.9"`
}

// validateEgress finds what is wrong with the settings of the egress guard.
func validateEgress(c *Config) error {
	errs := []error{egress.Check("egress.allow", c.Egress.Allow), egress.Check("egress.deny", c.Egress.Deny)}
	if _, err := dnsServer(c.Egress.DNS); err != nil {
		errs = append(errs, err)
	}
	if !c.Egress.Guard {
		return errors.Join(errs...)
	}
	if c.Browser.Type != browser.Chromium {
		errs = append(errs, fmt.Errorf("egress.guard is for chromium: nobody has made sure that it holds %s. Set egress.guard to false, and keep that worker from private networks by other means", c.Browser.Type))
	}
	if c.Guard.ClientProxy == allow {
		errs = append(errs, errors.New("guard.client_proxy=allow lets clients go around egress.guard: turn one of them off"))
	}
	if !c.Guard.Enabled && c.Browser.Confine != browser.ConfineOn {
		errs = append(errs, errors.New("guard.enabled=false lets clients go around egress.guard, by a proxy of their own: set guard.enabled to true, or browser.confine to on, with which the kernel refuses it, or egress.guard to false"))
	}
	for _, arg := range c.Browser.Args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if slices.Contains([]string{"proxy-server", "proxy-pac-url", "proxy-auto-detect", "proxy-bypass-list", "no-proxy-server"}, name) {
			errs = append(errs, fmt.Errorf("browser.args: --%s leads around egress.guard: turn one of them off", name))
		}
	}
	return errors.Join(errs...)
}

// newEgress makes the pages' way to the network; there is none of its own
// without the guard.
func newEgress(w *worker, reg prometheus.Registerer) (*egress.Proxy, error) {
	c := w.config
	if !c.Egress.Guard {
		return nil, nil //nolint:nilnil // no guard is no error
	}
	own, err := ownServices(c)
	if err != nil {
		return nil, err
	}
	resolver, err := dnsServer(c.Egress.DNS)
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Options{
		Allow: c.Egress.Allow, Deny: c.Egress.Deny, Own: own, Resolver: resolver, Log: w.log.Named("egress"), Registerer: reg,
	})
}

// dnsServer asks this server alone; nil stands for the machine's.
func dnsServer(address string) (*net.Resolver, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // the machine's
	}
	server, err := netip.ParseAddrPort(address)
	if err != nil {
		const dns = 53
		ip, err := netip.ParseAddr(address)
		if err != nil {
			return nil, fmt.Errorf("egress.dns must be an IP address with or without a port, such as 9.9.9.9, not %q", address)
		}
		server = netip.AddrPortFrom(ip, dns)
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.String())
	}}, nil
}

// ownServices are the host:port of what pages have no business with: Redis, and
// what this worker serves.
func ownServices(c Config) ([]string, error) {
	redis, err := redisx.HostPort(c.Redis.URL)
	if err != nil {
		return nil, err
	}
	var own []string
	for _, address := range []string{redis, c.Listen, c.Admin.Listen} {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" || strings.HasPrefix(address, "unix:") {
			continue // a Unix socket, or none; or a port of which nobody knows
		}
		if host == "" {
			host = "0.0.0.0"
		}
		own = append(own, net.JoinHostPort(host, port))
	}
	return own, nil
}
