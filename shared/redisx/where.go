package redisx

// HostPort is where the Redis of a URL is, empty for one behind a Unix socket.
// The URL is one that [Connect] takes.
func HostPort(url string) (string, error) {
	a, err := parseURL(url)
	if err != nil || a.network != "tcp" {
		return "", err
	}
	return a.addr, nil
}
