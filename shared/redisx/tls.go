package redisx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// setTLS makes files the source of who is trusted and of who this program is.
// The certificate is read again for every connection, like the password, since
// the short-lived ones of a machine are renewed beside the running program.
func (a *address) setTLS(o config.Redis) error {
	if o.CAFile == "" && o.CertFile == "" {
		return nil
	}
	if a.tls == nil {
		return setupf(nil, "redis.ca_file and redis.cert_file are for a Redis with TLS: redis.url must begin with rediss://")
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return setupf(err, "redis.ca_file cannot be used: %s", err)
		}
		a.tls.RootCAs = x509.NewCertPool()
		if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
			return setupf(nil, "redis.ca_file cannot be used: there is no certificate in %s, which has to be PEM", o.CAFile)
		}
	}
	if o.CertFile != "" {
		own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			return &pair, err
		}
		if _, err := own(nil); err != nil {
			return setupf(err, "redis.cert_file and redis.key_file cannot be used: %s", err)
		}
		a.tls.GetClientCertificate = own
	}
	return nil
}

// rejected tells whether err may be the answer of a server that wants another
// certificate. It says so after the client is done with the handshake; what
// the client sees of it, an alert or the end of the connection, is chance.
func rejected(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" ||
		errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
