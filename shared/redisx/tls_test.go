package redisx_test

import (
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
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

// authority signs certificates into files of a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign makes name.pem and name.key; the first, the authority's own, is signed
// by itself.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

// server is a Redis with TLS, with a certificate of this authority.
func (a *authority) server(t *testing.T, clients string) *server {
	t.Helper()
	a.sign(t, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	s := prepareServer(t)
	s.args = []string{
		"--tls-port", fmt.Sprint(s.port), "--port", "0", "--tls-cert-file", a.file("server.pem"), "--tls-key-file", a.file("server.key"),
		"--tls-ca-cert-file", a.file("ca.pem"), "--tls-auth-clients", clients,
	}
	s.start()
	return s
}

// tryWith connects with these settings.
func tryWith(r config.Redis) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := redisx.Connect(ctx, redisx.Options{Redis: r})
	if err == nil {
		c.Close()
	}
	return err
}

func TestAnAuthorityOfOnesOwn(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	s := a.server(t, "no")
	url := "rediss://" + s.addr()
	require.NoError(t, tryWith(config.Redis{URL: url, CAFile: a.file("ca.pem")}))
	for _, r := range []config.Redis{{URL: url}, {URL: url, CAFile: stranger.file("ca.pem")}} {
		err := tryWith(r)
		require.True(t, redisx.IsSetup(err), "%v", err)
		require.ErrorContains(t, err, "is not trusted")
		require.ErrorContains(t, err, "redis.ca_file")
	}
}

func TestACertificateOfTheClient(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	for _, ca := range []*authority{a, stranger} {
		ca.sign(t, "client", &x509.Certificate{})
	}
	s := a.server(t, "yes")
	with := func(of *authority) config.Redis {
		return config.Redis{URL: "rediss://" + s.addr(), CAFile: a.file("ca.pem"), CertFile: of.file("client.pem"), KeyFile: of.file("client.key")}
	}
	require.NoError(t, tryWith(with(a)))
	for name, r := range map[string]config.Redis{"none": {URL: "rediss://" + s.addr(), CAFile: a.file("ca.pem")}, "a stranger's": with(stranger)} {
		// It is tried again, since what is wrong may be the server's.
		log, seen := logs()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		log = log.WithOptions(zap.Hooks(func(zapcore.Entry) error { cancel(); return nil }))
		_, err := redisx.Connect(ctx, redisx.Options{Redis: r, Log: log})
		cancel()
		require.Error(t, err, name)
		require.NotZero(t, seen.Len(), name)
		require.Contains(t, seen.All()[0].Message, "(does it ask its clients for a certificate? redis.cert_file)", name)
	}

	// A Redis that comes to trust another authority: the new certificate is
	// shown without a restart.
	c, err := redisx.Connect(t.Context(), redisx.Options{Redis: with(a)})
	require.NoError(t, err)
	defer c.Close()
	s.kill()
	s.args[slices.Index(s.args, a.file("ca.pem"))] = stranger.file("ca.pem")
	s.start()
	for _, name := range []string{"client.pem", "client.key"} {
		text, err := os.ReadFile(stranger.file(name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(a.file(name), text, 0o600))
	}
	require.Eventually(t, func() bool { return c.Do(t.Context(), c.B().Ping().Build()).Error() == nil }, 10*time.Second, 20*time.Millisecond)
}

func TestFilesForTLSThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, tt := range []struct {
		redis config.Redis
		want  string
	}{
		{config.Redis{URL: "redis://127.0.0.1:1", CAFile: a.file("ca.pem")}, "must begin with rediss://"},
		{config.Redis{URL: "rediss://127.0.0.1:1", CAFile: a.file("none.pem")}, "redis.ca_file cannot be used"},
		{config.Redis{URL: "rediss://127.0.0.1:1", CAFile: a.file("ca.key")}, "there is no certificate in"},
		{config.Redis{URL: "rediss://127.0.0.1:1", CertFile: a.file("ca.pem"), KeyFile: a.file("none.key")}, "redis.cert_file and redis.key_file cannot be used"},
	} {
		err := tryWith(tt.redis)
		require.True(t, redisx.IsSetup(err), "%v", err)
		require.ErrorContains(t, err, tt.want)
	}
}
