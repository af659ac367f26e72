package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// askTime is what a process may take to say how it is.
const askTime = 3 * time.Second

// CheckHealth asks the process whose admin port is at a whether it is ready.
// An error says that it does not answer, or what it is waiting for. With it a
// program can be its own health check in an image that holds nothing else.
func CheckHealth(ctx context.Context, a config.Admin) error {
	if a.Listen == "" {
		return errors.New("there is no admin port to ask: set admin.listen")
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		if path, ok := a.Socket(); ok {
			return d.DialContext(ctx, "unix", path)
		}
		return d.DialContext(ctx, "tcp", ownAddress(a.Listen))
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/readyz", nil)
	if err != nil {
		return err
	}
	if secret, err := a.Secret(); err == nil && secret != "" {
		request.Header.Set("Authorization", "Bearer "+secret) // to be told the reasons too
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("nobody answers at %s: %w", a.Listen, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var answer readyAnswer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s is not the admin port of this program: it answers %s", a.Listen, response.Status)
	}
	return errors.New("not ready: " + strings.Join(answer.missing(), ", "))
}

// ownAddress is where a process on this machine reaches what listens there.
func ownAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// readyAnswer is the body of /readyz.
type readyAnswer struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// missing says for each check that fails why it does.
func (a readyAnswer) missing() []string {
	var out []string
	for _, c := range a.Checks {
		if !c.OK {
			out = append(out, c.Name+" ("+c.Why+")")
		}
	}
	return out
}
