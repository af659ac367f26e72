package app

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestDefaultsAreGood(t *testing.T) {
	t.Parallel()
	c, warnings, outcome, err := Load(nil, nil, &bytes.Buffer{})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, config.Run, outcome)
	want := Defaults()
	want.AllowedOrigins, want.TrustedProxies = c.AllowedOrigins, c.TrustedProxies
	require.Empty(t, c.AllowedOrigins)
	require.Empty(t, c.TrustedProxies)
	require.Equal(t, want, c)
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"pool":                {[]string{"--pool", "My Pool"}, `pool name "My Pool": use 1 to 40 characters of a-z, 0-9, '-' and '_'`},
		"listen":              {[]string{"--listen", "8080"}, `listen must be an address such as ":8080" or "127.0.0.1:8080", not "8080"`},
		"default browser":     {[]string{"--default_browser", "chrome"}, `default_browser must be chromium, firefox or webkit, not "chrome"`},
		"origin":              {[]string{"--allowed_origins", "app.example.com"}, `allowed_origins: "app.example.com" is no origin: use the form https://app.example.com, or *`},
		"trusted proxy":       {[]string{"--trusted_proxies", "10.0.0.5/24"}, `trusted_proxies: "10.0.0.5/24" is an address inside of the range 10.0.0.0/24: use one of them`},
		"tokens file":         {[]string{"--tokens.file", "/no/such/file"}, "tokens.file: stat /no/such/file: no such file or directory"},
		"tokens by flag":      {[]string{"--tokens.list", "[]"}, "--tokens.list would show the secret to everybody who lists this machine's processes: use PWDIST_TOKENS__LIST or a file"},
		"request time":        {[]string{"--limits.request", "99ms"}, "limits.request must be at least 100ms, not 99ms"},
		"pending":             {[]string{"--limits.pending", "-1"}, "limits.pending must not be negative, not -1"},
		"failures":            {[]string{"--limits.failures", "-1"}, "limits.failures must not be negative, not -1"},
		"open admin port":     {[]string{"--admin.listen", ":9090"}, "set admin.token_file or PWDIST_ADMIN__TOKEN"},
		"drain":               {[]string{"--drain", "-1s"}, "drain must not be negative, not -1s"},
		"drain delay":         {[]string{"--drain_delay", "-1s"}, "drain_delay must not be negative, not -1s"},
		"queue size":          {[]string{"--queue.size", "-1"}, "queue.size must not be negative, not -1"},
		"queue wait":          {[]string{"--queue.wait", "0s"}, "queue.wait must be above 0, not 0s"},
		"longest wait":        {[]string{"--queue.max_wait", "29s"}, "queue.max_wait (29s) must not be below queue.wait (30s)"},
		"dial timeout of 0":   {[]string{"--dial.timeout", "0s"}, "dial.timeout (0s) must be above 0 and below timing.start_lease (10s)"},
		"dial timeout":        {[]string{"--dial.timeout", "10s"}, "dial.timeout (10s) must be above 0 and below timing.start_lease (10s)"},
		"dial attempts":       {[]string{"--dial.attempts", "0"}, "dial.attempts must be at least 1, not 0"},
		"stall":               {[]string{"--relay.stall", "999ms"}, "relay.stall must be at least 1s, not 999ms"},
		"idle":                {[]string{"--session.idle", "-1s"}, "session.idle must be at least 1s, or 0 for never, not -1s"},
		"max_duration":        {[]string{"--session.max_duration", "1ms"}, "session.max_duration must be at least 1s, or 0 for never, not 1ms"},
		"ping":                {[]string{"--relay.ping", "1ms"}, "relay.ping must be at least 1s, or 0 for none, not 1ms"},
		"dead":                {[]string{"--relay.dead", "29s"}, "relay.dead (29s) must not be below relay.ping (30s)"},
		"pollers":             {[]string{"--relay.pollers", "-1"}, "relay.pollers must not be negative, not -1"},
		"ended records":       {[]string{"--ended.max_entries", "0"}, "ended.max_entries must be at least 1, not 0"},
		"age of ended":        {[]string{"--ended.max_age", "999ms"}, "ended.max_age must be at least 1s, not 999ms"},
		"a shared setting":    {[]string{"--log.level", "loud"}, `log.level must be debug, info, warn or error, not "loud"`},
		"a shared timing":     {[]string{"--timing.start_lease", "5s", "--dial.timeout", "4s"}, "timing.start_lease (5s) must be more than one heartbeat (timing.heartbeat is 5s)"},
		"a duration unitless": {[]string{"--queue.wait", "ten"}, "queue.wait"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := Load(tt.args, nil, &bytes.Buffer{})
			require.ErrorContains(t, err, tt.want)
			require.Len(t, strings.Split(strings.TrimSpace(err.Error()), "\n"), 1, "one line for one mistake: %s", err)
		})
	}
}

func TestEveryMistakeHasItsLine(t *testing.T) {
	t.Parallel()
	_, _, _, err := Load([]string{"--drain", "-1s", "--dial.attempts", "0"}, []string{"PWDIST_QUEUE__SIZE=-5"}, &bytes.Buffer{})
	require.Error(t, err)
	require.Len(t, strings.Split(strings.TrimSpace(err.Error()), "\n"), 3, "%s", err)
	for _, key := range []string{"drain", "dial.attempts", "queue.size"} {
		require.ErrorContains(t, err, key+" must")
	}
}

func TestGoodSettings(t *testing.T) {
	t.Parallel()
	c, _, _, err := Load([]string{
		"--drain", "0s", "--queue.size", "0", "--dial.timeout", "9999ms", "--relay.stall", "1s", "--ended.max_age", "1s", "--queue.max_wait", "30s",
		"--allowed_origins", "https://app.example.com,*", "--default_browser", "webkit", "--trusted_proxies", "10.0.0.5,2001:db8::/48",
	}, nil, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, []string{"https://app.example.com", "*"}, c.AllowedOrigins)
	require.Equal(t, []string{"10.0.0.5", "2001:db8::/48"}, c.TrustedProxies)
}

func TestWellKnownVariables(t *testing.T) {
	t.Parallel()
	c, _, _, err := Load(nil, []string{"MAX_QUEUE_SIZE=7", "QUEUE_WAIT_TIMEOUT=9s", "DEFAULT_BROWSER_TYPE=firefox", "REDIS_URL=redis://redis:6379/1"}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, 7, c.Queue.Size)
	require.Equal(t, 9*time.Second, c.Queue.Wait)
	require.Equal(t, "firefox", c.DefaultBrowser)
	require.Equal(t, "redis://redis:6379/1", c.Redis.URL)
}

func TestOptionsOfTheScripts(t *testing.T) {
	t.Parallel()
	require.Equal(t, state.DefaultOptions(), Defaults().options())
	c := Defaults()
	c.Timing = config.Timing{Heartbeat: 1, ProcessLease: 2, StartLease: 3}
	c.Events = config.Events{MaxEntries: 4, MaxAge: 5}
	c.Ended = config.Ended{MaxEntries: 6, MaxAge: 7}
	o := c.options()
	d := state.DefaultOptions()
	require.Equal(t, state.Options{
		Heartbeat: 1, ProcessLease: 2, StartLease: 3, EventsMaxEntries: 4, EventsMaxAge: 5, EndedMax: 6, EndedAge: 7,
		MaxClasses: d.MaxClasses, MaxFlavours: d.MaxFlavours, MaxSkipped: d.MaxSkipped,
	}, o)
}

// TestTokensByEnvironment takes hashes only, and says what is wrong without the value.
func TestTokensByEnvironment(t *testing.T) {
	t.Parallel()
	secret := tokens.NewSecret()
	var out bytes.Buffer
	c, warnings, _, err := Load(nil, []string{`PWDIST_TOKENS=[{"name":"ci","hash":"` + tokens.Hash(secret) + `"}]`}, &out)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.True(t, c.Tokens.On())
	set, err := c.Tokens.Read()
	require.NoError(t, err)
	got, err := set.Check(secret, time.Now())
	require.NoError(t, err)
	require.Equal(t, "ci", got.Name)

	_, _, _, err = Load([]string{"--print-config"}, []string{`PWDIST_TOKENS=[{"name":"ci","hash":"` + tokens.Hash(secret) + `"}]`, "PWDIST_ADMIN__TOKEN=" + secret}, &out)
	require.NoError(t, err)
	require.NotContains(t, out.String(), tokens.Hash(secret))
	require.NotContains(t, out.String(), secret)

	_, _, _, err = Load(nil, []string{"PWDIST_TOKENS=[{name: ci, hash: " + secret + "}]"}, &out)
	require.ErrorContains(t, err, "tokens.list: line 1: hash is the token itself")
	require.NotContains(t, err.Error(), secret)
}
