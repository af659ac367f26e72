package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

func TestPartsValidate(t *testing.T) {
	type part interface{ Validate() error }
	s := time.Second
	tests := []struct {
		part part
		want string // "" is valid
	}{
		{config.DefaultRedis(), ""},
		{config.Redis{URL: " "}, "redis.url is empty"},
		{config.DefaultLog(), ""},
		{config.Log{Level: "error", Format: "json"}, ""},
		{config.Log{Level: "INFO", Format: "json"}, "log.level must be"},
		{config.Log{Level: "info", Format: "xml"}, "log.format must be auto, console or json"},
		{config.DefaultTiming(), ""},
		{config.Timing{Heartbeat: 0, ProcessLease: s, StartLease: s}, "timing.heartbeat must be above 0"},
		{config.Timing{Heartbeat: s, ProcessLease: 2 * s, StartLease: 2 * s}, "timing.process_lease (2s) must be more than two heartbeats"},
		{config.Timing{Heartbeat: s, ProcessLease: 3 * s, StartLease: s}, "timing.start_lease (1s) must be more than one heartbeat"},
		{config.Timing{Heartbeat: s, ProcessLease: 2001 * time.Millisecond, StartLease: 1001 * time.Millisecond}, ""},
		{config.DefaultEvents(), ""},
		{config.Events{MaxEntries: 0, MaxAge: time.Hour}, "events.max_entries must be at least 1"},
		{config.Events{MaxEntries: 1, MaxAge: 0}, "events.max_age must be at least 1m"},
		{config.DefaultEnded(), ""},
		{config.Ended{MaxEntries: 0, MaxAge: time.Hour}, "ended.max_entries must be at least 1, not 0"},
		{config.Ended{MaxEntries: 1, MaxAge: 999 * time.Millisecond}, "ended.max_age must be at least 1s, not 999ms"},
		{config.Ended{MaxEntries: 1, MaxAge: time.Second}, ""},
		{config.DefaultAdmin(), ""},
		{config.Admin{}, ""},
		{config.Admin{Listen: "[::1]:0"}, ""},
		{config.Admin{Listen: "unix:///run/admin.sock"}, ""},
		{config.Admin{Listen: "127.3.2.1:1"}, ""},
		{config.Admin{Listen: ":9090"}, "set admin.token_file"},
		{config.Admin{Listen: "0.0.0.0:9090"}, "set admin.token_file"},
		{config.Admin{Listen: "[::]:9090"}, "set admin.token_file"},
		{config.Admin{Listen: "10.0.0.1:9090"}, "set admin.token_file"},
		{config.Admin{Listen: "admin.internal:9090"}, "set admin.token_file"},
		{config.Admin{Listen: ":9090", Token: "x"}, ""},
		{config.Admin{Listen: ":9090", TokenFile: "/x"}, ""},
		{config.Admin{Listen: ":9090", Insecure: true}, ""},
		{config.Admin{Listen: ":9090", Token: "x", TokenFile: "/x"}, "one of them is enough"},
		{config.Admin{Listen: "unix://admin.sock"}, "absolute path of a socket"},
		{config.Admin{Listen: "unix://"}, "absolute path of a socket"},
		{config.Admin{Listen: "localhost"}, "admin.listen must be an address"},
		{config.Admin{Listen: "localhost:"}, "admin.listen must be an address"},
		{config.Admin{Listen: "localhost:70000"}, "admin.listen must be an address"},
	}
	for _, tt := range tests {
		err := tt.part.Validate()
		if tt.want == "" {
			require.NoError(t, err, "%+v", tt.part)
			continue
		}
		require.ErrorContains(t, err, tt.want, "%+v", tt.part)
	}
}

func TestPoolName(t *testing.T) {
	for _, name := range []string{"a", "default", "team-1_b", strings.Repeat("x", 40)} {
		require.NoError(t, config.PoolName(name))
	}
	for _, name := range []string{"", "A", "a b", "a:b", "a}", "ä", strings.Repeat("x", 41)} {
		require.Error(t, config.PoolName(name), name)
	}
}

func TestRedactURL(t *testing.T) {
	tests := map[string]string{
		"":                                  "",
		"plain text":                        "plain text",
		"redis://h:1/0":                     "redis://h:1/0",
		"redis://u:hush@h:1/0":              "redis://u:***@h:1/0",
		"redis://:hush@h":                   "redis://:***@h",
		"redis://hush@h":                    "redis://***@h",
		"unix://u:hush@/run/redis.sock":     "unix://u:***@/run/redis.sock",
		"redis://u:hu/sh?#@h@h:1":           "redis://u:***@h:1",
		"redis://u:hush@a:1,redis://b:2":    "redis://u:***@a:1,redis://b:2",
		"redis://u:hu,sh@a,redis://:hush@b": "redis://u:***@a,redis://:***@b",
		"u:hush@h:1":                        "u:***@h:1",
		"u:hush@://h":                       "u:***@://h",
	}
	for in, want := range tests {
		require.Equal(t, want, config.RedactURL(in))
	}
}

func TestRedisCertificateNeedsItsKey(t *testing.T) {
	r := config.DefaultRedis()
	r.CertFile = "a.pem"
	require.ErrorContains(t, r.Validate(), "redis.cert_file and redis.key_file go together")
	r.KeyFile = "a.key"
	require.NoError(t, r.Validate())
	r.CertFile = ""
	require.Error(t, r.Validate())
}
