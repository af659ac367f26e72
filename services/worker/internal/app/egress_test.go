package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongSettingsOfTheEgressGuard(t *testing.T) {
	for want, args := range map[string][]string{
		`egress.allow: "http://app"`:               {"--egress.allow=http://app"},
		`egress.deny: "10.0.0.0/40"`:               {"--egress.deny=10.0.0.0/40"},
		`egress.dns must be an IP address`:         {"--egress.dns=dns.internal"},
		`egress.guard is for chromium`:             {"--egress.guard", "--browser.type=firefox"},
		`guard.client_proxy=allow lets clients go`: {"--egress.guard", "--guard.client_proxy=allow"},
		`guard.enabled=false lets clients go`:      {"--egress.guard", "--guard.enabled=false"},
		`browser.args: --proxy-server leads`:       {"--egress.guard", "--browser.args=--proxy-server=x"},
		`browser.args: --no-proxy-server leads`:    {"--egress.guard", "--browser.args=--lang=en,--no-proxy-server"},
	} {
		_, _, err := load(t, nil, args...)
		require.ErrorContains(t, err, want)
	}
	_, _, err := load(t, nil, "--egress.guard", "--egress.allow=app:80,10.0.0.0/8,*.test", "--egress.dns=9.9.9.9", "--browser.args=--lang=en")
	require.NoError(t, err)
	_, _, err = load(t, nil, "--egress.guard", "--guard.enabled=false", "--browser.confine=on")
	require.NoError(t, err, "held by the kernel")
	_, _, err = load(t, nil, "--browser.type=firefox", "--guard.enabled=false", "--guard.client_proxy=allow", "--browser.args=--proxy-server=x", "--egress.dns=[::1]:5353")
	require.NoError(t, err, "without the guard")
}

func TestServicesThatPagesHaveNoBusinessWith(t *testing.T) {
	for _, c := range []struct {
		args, want []string
	}{
		{nil, []string{"127.0.0.1:6379", "0.0.0.0:3131", "127.0.0.1:9091"}},
		{
			[]string{"--redis.url=rediss://u:p@redis.internal/1", "--listen=10.0.0.1:4000", "--admin.listen=unix:///tmp/x.sock"},
			[]string{"redis.internal:6379", "10.0.0.1:4000"},
		},
		{[]string{"--redis.url=unix:///tmp/redis.sock", "--listen=[::1]:4000"}, []string{"[::1]:4000", "127.0.0.1:9091"}},
	} {
		cfg, _, err := load(t, nil, c.args...)
		require.NoError(t, err)
		own, err := ownServices(cfg)
		require.NoError(t, err)
		require.Equal(t, c.want, own)
	}
}
