package app

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
)

// endpoint is the host:port that proxies dial: what is advertised, completed
// by what is listened on.
func endpoint(ctx context.Context, advertise string, listen *net.TCPAddr, redisURL string) string {
	host, port := splitAdvertise(advertise)
	if port == "" {
		port = strconv.Itoa(listen.Port)
	}
	if host == "" && listen.IP != nil && !listen.IP.IsUnspecified() {
		host = listen.IP.String()
	}
	if host == "" {
		host = ownAddress(ctx, redisURL)
	}
	return net.JoinHostPort(host, port)
}

// ownAddress is the best guess at the address under which others reach this
// machine: the one from which it reaches Redis, since proxies reach that too.
func ownAddress(ctx context.Context, redisURL string) string {
	if u, err := url.Parse(redisURL); err == nil && u.Hostname() != "" {
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		// Connecting a datagram socket sends nothing; it picks the route.
		var d net.Dialer
		if c, err := d.DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), port)); err == nil {
			defer func() { _ = c.Close() }()
			if local, ok := c.LocalAddr().(*net.UDPAddr); ok && !local.IP.IsUnspecified() {
				return local.IP.String()
			}
		}
	}
	if name, err := os.Hostname(); err == nil {
		addrs, _ := net.DefaultResolver.LookupIPAddr(ctx, name)
		for _, a := range addrs {
			if !a.IP.IsLoopback() && !a.IP.IsLinkLocalUnicast() {
				return a.IP.String()
			}
		}
	}
	return "127.0.0.1"
}

// lifetime varies a number of sessions by up to the part jitter of it, and
// leaves it alone where that is less than half a session.
func lifetime(sessions int, jitter float64) int {
	if sessions == 0 {
		return 0
	}
	by := float64(sessions) * jitter * (2*rand.Float64() - 1) //nolint:gosec // it spreads the work, it keeps no secret
	return max(1, sessions+int(math.Round(by)))
}
