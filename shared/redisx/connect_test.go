package redisx_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

// try connects with a limit on the patience.
func try(url string, patience time.Duration, log *zap.Logger, on func(bool, string)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := redisx.Connect(ctx, redisx.Options{Redis: config.Redis{URL: url}, Log: log, OnHealth: on})
	if err == nil {
		c.Close()
	}
	return err
}

func TestConnect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, url := range []string{s.url(), s.url() + "/3", "unix://" + s.socket() + "?db=3", "valkey://" + s.addr()} {
		h := newHealth()
		c, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: url}, ClientName: "pwdist-test", OnHealth: h.on})
		require.NoError(t, err, url)
		info, err := c.Do(context.Background(), c.B().ClientInfo().Build()).ToString()
		require.NoError(t, err)
		require.Contains(t, info, "name=pwdist-test ")
		require.Contains(t, info, fmt.Sprintf(" db=%d ", redisx.DB(c)))
		require.Equal(t, strings.HasSuffix(url, "/3") || strings.HasSuffix(url, "db=3"), redisx.DB(c) == 3)
		require.Empty(t, h.next(t, time.Second))
		c.Close()
		c.Close() // twice is harmless
	}
}

// TestWhatOnlyTheOperatorCanMend ends Connect at once, says what to change, and
// keeps the password to itself.
func TestWhatOnlyTheOperatorCanMend(t *testing.T) {
	t.Parallel()
	open := newServer(t)
	closed := newServer(t, "--requirepass", "hush-hush")
	cluster := newServer(t, "--cluster-enabled", "yes")
	old := pretend(t, "6.2.14")

	tests := []struct{ name, url, want string }{
		{"wrong password", "redis://:wrong-hush@" + closed.addr(), "Redis at " + closed.addr() + " refuses the user or password of redis.url"},
		{"wrong user", "redis://nobody:hush-hush@" + closed.addr(), "refuses the user or password"},
		{"no password", closed.url(), "wants a password: put it into redis.url"},
		{"no such database", open.url() + "/99", "has no database 99"},
		{"cluster", cluster.url(), "runs as a cluster"},
		{"too old", old, "is version 6.2.14; version 7.0 or later is needed"},
		{"no URL", "localhost:6379", "redis.url cannot be used"},
		{"wrong scheme", "http://:hush-hush@localhost", "must begin with redis://, rediss:// or unix://"},
		{"special characters", "redis://:hush%zz@localhost", "escape special characters in the password"},
		{"several servers", "redis://:hush-hush@a:1,b:2", "redis.url cannot be used"},
		{"database no number", "redis://:hush-hush@a/x", "the database must be a number"},
		{"relative socket", "unix://redis.sock", "absolute path"},
		{"unknown parameter", "redis://:hush-hush@a?tiemout=1", `unknown parameter "tiemout"`},
		{"skip_verify without TLS", "redis://:hush-hush@a?skip_verify=true", "unknown parameter"},
		{"skip_verify unclear", "rediss://:hush-hush@a?skip_verify=please", "skip_verify must be true or false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			log, seen := logs()
			err := try(tt.url, 20*time.Second, log, nil)
			require.ErrorContains(t, err, tt.want)
			require.True(t, redisx.IsSetup(err))
			require.Less(t, time.Since(began), 5*time.Second)
			require.NotContains(t, err.Error(), "hush")
			require.Zero(t, seen.Len(), "nothing was tried again")
		})
	}
}

// TestPasswordThatCutsTheURLOff: what comes before the special character can look
// like a host with a port, and what comes after it like another part of the URL.
func TestPasswordThatCutsTheURLOff(t *testing.T) {
	t.Parallel()
	for url, remedy := range map[string]string{
		"redis://default:1234?hush@localhost:6379":     "? as %3F",
		"redis://default:1234#hush@localhost:6379":     "# as %23",
		"redis://default:1234/hush@localhost:6379":     "/ as %2F",
		"rediss://:1234?hush=hush@localhost:6379/0":    "? as %3F",
		"redis://:12@34?hush@localhost:6379":           "? as %3F",
		"unix://:1234#hush@/run/redis.sock":            "# as %23",
		"redis://default:hush?1234@localhost:6379":     "? as %3F",
		"redis://default:1234%zzhush@localhost:6379/0": "% as %25",
	} {
		log, seen := logs()
		err := try(url, 20*time.Second, log, nil)
		require.ErrorContains(t, err, "escape special characters in the password", url)
		require.ErrorContains(t, err, remedy, url)
		require.True(t, redisx.IsSetup(err), url)
		for _, part := range []string{"hush", "12", "34", "default"} {
			require.NotContains(t, err.Error(), part, url)
		}
		require.Zero(t, seen.Len(), "nothing was tried")
	}
}

// pretend is a server of another version: it answers HELLO and knows no more.
func pretend(t *testing.T, version string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					reply := ""
					switch strings.ToUpper(lines.Text()) {
					case "HELLO":
						reply = fmt.Sprintf("%%4\r\n+server\r\n+redis\r\n+version\r\n+%s\r\n+proto\r\n:3\r\n+mode\r\n+standalone\r\n", version)
					case "CLIENT", "PING":
						reply = "+OK\r\n"
					}
					if _, err := c.Write([]byte(reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + ln.Addr().String()
}

// TestConnectWaits: Redis may come later than we do.
func TestConnectWaits(t *testing.T) {
	t.Parallel()
	s := prepareServer(t)
	log, seen := logs()
	h := newHealth()
	result := make(chan error, 1)
	go func() { result <- try("redis://:hush@"+s.addr(), 20*time.Second, log, h.on) }()

	require.Equal(t, "cannot reach Redis at "+s.addr()+": connection refused", h.next(t, 5*time.Second))
	s.args = []string{"--requirepass", "hush"}
	s.start()
	require.NoError(t, <-result)
	require.Empty(t, h.next(t, time.Second), "healthy now, told once")
	require.Empty(t, h.changes)
	for _, l := range seen.FilterLevelExact(zap.WarnLevel).All() {
		require.Regexp(t, `^cannot reach Redis at \S+: connection refused; trying again in \d+(\.\d)?m?s$`, l.Message)
	}
	require.Equal(t, 1, seen.FilterMessage("connected to Redis").Len())
	for _, l := range seen.All() {
		require.NotContains(t, fmt.Sprint(l.Message, l.ContextMap()), "hush")
	}
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	s := prepareServer(t)
	err := try(s.url(), 2*time.Second, nil, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, redisx.IsSetup(err))
	require.ErrorContains(t, err, s.addr())

	err = try("unix://"+filepath.Join(s.dir, "nothing.sock"), 2*time.Second, nil, nil)
	require.ErrorContains(t, err, "no such socket")
}

// TestConnectToReplica: it may be about to become the primary.
func TestConnectToReplica(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.admin("REPLICAOF", "127.0.0.1", "1")
	h := newHealth()
	result := make(chan error, 1)
	go func() { result <- try(s.url(), 20*time.Second, nil, h.on) }()
	require.Contains(t, h.next(t, 5*time.Second), "it is a replica and takes no writes")
	s.admin("REPLICAOF", "NO", "ONE")
	require.NoError(t, <-result)
}

// TestHealthOfADemotedRedis: it answers, keeps its clients, and takes no
// writes; so they leave it, and find whoever is at its address then.
func TestHealthOfADemotedRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, h := watched(t, s)
	id := func() int64 {
		n, err := c.Do(context.Background(), c.B().ClientId().Build()).ToInt64()
		require.NoError(t, err)
		return n
	}
	first := id()
	s.admin("REPLICAOF", "127.0.0.1", "1")
	require.Contains(t, h.next(t, 10*time.Second), "it is a replica and takes no writes")
	s.admin("REPLICAOF", "NO", "ONE")
	require.Empty(t, h.next(t, 10*time.Second))
	require.NotEqual(t, first, id(), "it has been dialled anew")
}

// TestConnectToSomethingElse: what is no Redis is said again and again, since
// it may be a proxy whose Redis is not up.
func TestConnectToSomethingElse(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	h := newHealth()
	err = try("redis://"+ln.Addr().String(), time.Second, nil, h.on)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "cannot reach Redis at "+ln.Addr().String()+": connection closed", h.next(t, time.Second))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	s := prepareServer(t)
	s.args = []string{"--tls-port", fmt.Sprint(s.port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no", "--port", "0"}
	s.start()

	err := try("rediss://:hush@"+s.addr(), 10*time.Second, nil, nil)
	require.True(t, redisx.IsSetup(err), "%v", err)
	require.ErrorContains(t, err, "the certificate of Redis at "+s.addr()+" is not trusted")
	require.NoError(t, try("rediss://"+s.addr()+"?skip_verify=true", 10*time.Second, nil, nil))
}

// certificate makes a self-signed one.
func certificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certFile, keyFile
}

// noticed is how soon an outage must be known: within three seconds, and what a
// machine adds that is busy with other tests.
const noticed = 10 * time.Second

func TestHealthOfAFrozenRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := newHealth()
	log, seen := logs()
	c, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: s.url()}, Log: log, OnHealth: h.on})
	require.NoError(t, err)
	defer c.Close()
	require.Empty(t, h.next(t, time.Second))

	s.freeze()
	frozen := time.Now()
	require.Equal(t, "lost Redis at "+s.addr()+": no answer in time", h.next(t, noticed))
	t.Logf("a frozen Redis was noticed after %s", time.Since(frozen))

	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.Error(t, c.Do(ctx, c.B().Incr().Key("x").Build()).Error())
	require.Less(t, time.Since(began), 5*time.Second, "a command must not hang")

	s.thaw()
	thawed := time.Now()
	require.Empty(t, h.next(t, 10*time.Second))
	t.Logf("its recovery was noticed after %s", time.Since(thawed))
	require.NoError(t, c.Do(ctx, c.B().Incr().Key("x").Build()).Error())
	require.Equal(t, 1, seen.FilterLevelExact(zap.WarnLevel).Len(), "one line for one outage")
	require.Equal(t, 1, seen.FilterMessage("Redis is reachable again").Len())
}

// watched is a connection whose Redis has been found well once.
func watched(t *testing.T, s *server) (rueidis.Client, *health) {
	t.Helper()
	h := newHealth()
	c, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: s.url()}, OnHealth: h.on})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Empty(t, h.next(t, time.Second))
	return c, h
}

func TestHealthOfAKilledRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, h := watched(t, s)

	s.kill()
	require.Contains(t, h.next(t, noticed), "lost Redis at "+s.addr())
	s.start()
	require.Empty(t, h.next(t, 10*time.Second))
}

// TestHealthSeesAChangedPassword: an error is no sign of life when nothing can
// be done with the connection.
func TestHealthSeesAChangedPassword(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, h := watched(t, s)
	s.kill()
	s.args = []string{"--requirepass", "new"}
	s.start()
	require.Contains(t, h.next(t, noticed), "lost Redis")
	select {
	case change := <-h.changes:
		require.NotEmpty(t, change, "it cannot be used")
	case <-time.After(1500 * time.Millisecond):
	}
}

// TestHealthTellsTheReasonOfNow: what brought a Redis down is not what keeps it
// from being used once it is back.
func TestHealthTellsTheReasonOfNow(t *testing.T) {
	t.Parallel()
	user := func(password string) []string {
		return []string{"--user", "me", "on", ">" + password, "~*", "&*", "+@all"}
	}
	for name, c := range map[string]struct {
		args []string // of the Redis that comes back
		lost bool     // the file with the password
		why  string
	}{
		"another password": {args: user("other"), why: "WRONGPASS"},
		"a replica":        {args: append(user("hush"), "--replicaof", "127.0.0.1 1"), why: "it is a replica and takes no writes"},
		"no password":      {args: user("hush"), lost: true, why: "there is no such redis.password_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, user("hush")...)
			h := newHealth()
			file := passwordFile(t, "hush")
			log, seen := logs()
			client, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: "redis://me@" + s.addr(), PasswordFile: file}, Log: log, OnHealth: h.on})
			require.NoError(t, err)
			defer client.Close()
			require.Empty(t, h.next(t, time.Second))

			s.kill()
			require.Contains(t, h.next(t, noticed), "lost Redis at "+s.addr()+": connection ")
			if c.lost {
				require.NoError(t, os.Remove(file))
			}
			s.args = c.args
			s.start()
			require.Contains(t, h.next(t, noticed), c.why)
			time.Sleep(2500 * time.Millisecond) // the next pings find the same
			require.Empty(t, h.changes)
			require.Equal(t, 2, seen.FilterLevelExact(zap.WarnLevel).Len(), "one line for each reason: %v", seen.All())
		})
	}
}

// TestConnectTellsTheReasonOfNow: as [TestHealthTellsTheReasonOfNow], from the start.
func TestConnectTellsTheReasonOfNow(t *testing.T) {
	t.Parallel()
	s := prepareServer(t, "--replicaof", "127.0.0.1 1")
	h := newHealth()
	result := make(chan error, 1)
	go func() { result <- try(s.url(), 20*time.Second, nil, h.on) }()
	require.Contains(t, h.next(t, 5*time.Second), "connection refused")
	s.start()
	require.Contains(t, h.next(t, noticed), "it is a replica and takes no writes")
	s.admin("REPLICAOF", "NO", "ONE")
	require.NoError(t, <-result)
	require.Empty(t, h.next(t, time.Second))
}

// TestConnectToABusyRedis: it answers who it is, and nothing else.
func TestConnectToABusyRedis(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--busy-reply-threshold", "1")
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_ = exec.Command("redis-cli", "-s", s.socket(), "EVAL", "while true do end", "0").Run()
	}()
	defer func() { <-busy }()
	require.Eventually(t, func() bool { return strings.HasPrefix(s.admin("PING"), "BUSY") }, 10*time.Second, 5*time.Millisecond)
	h := newHealth()
	result := make(chan error, 1)
	go func() { result <- try(s.url(), 20*time.Second, nil, h.on) }()
	why := h.next(t, 5*time.Second)
	s.admin("SCRIPT", "KILL")
	require.Contains(t, why, "BUSY")
	require.NoError(t, <-result)
	require.Empty(t, h.next(t, time.Second))
}

func TestCloseWhileRedisIsFrozen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, s.url())
	s.freeze()
	defer s.thaw()
	done := make(chan struct{})
	go func() { defer close(done); c.Close() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		require.Fail(t, "Close hangs on a frozen Redis")
	}
	require.Error(t, c.Do(context.Background(), c.B().Ping().Build()).Error())
}
