package consume_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/internal/redistest"
)

func TestConnect(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "s3cr3t/x")
	for _, url := range []string{
		"redis://:s3cr3t%2Fx@" + s.Addr,
		"redis://:s3cr3t%2Fx@" + s.Addr + "/",
		" redis://:s3cr3t%2Fx@" + s.Addr + " \n",
		"redis://default:s3cr3t%2Fx@" + s.Addr + "/3",
		"unix://:s3cr3t%2Fx@" + s.Socket,
		"unix://default:s3cr3t%2Fx@" + s.Socket + "?db=3",
	} {
		t.Run(url, func(t *testing.T) {
			c, err := consume.Connect(url)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.Do(context.Background(), c.B().Ping().Build()).Error())
		})
	}
}

func TestConnectErrors(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right")
	for _, c := range []struct{ name, url, problem string }{
		{"empty", "", "use redis://"},
		{"no scheme", "localhost:6379", "use redis://"},
		{"other scheme", "http://localhost:6379", "use redis://"},
		{"bad port", "redis://:s3cr3t@localhost:port", "use redis://"},
		{"bad database", "redis://:s3cr3t@localhost/two", "use redis://"},
		{"slash in the password", "redis://:12/s3cr3t@localhost:6379/0", "percent-encoded"},
		{"question mark in the password", "redis://:12?s3cr3t@localhost:6379/0", "percent-encoded"},
		{"hash in the password", "redis://:12#s3cr3t@localhost:6379/0", "percent-encoded"},
		{"percent in the password", "redis://:%s3cr3t@localhost:6379/0", "percent-encoded"},
		{"socket without a path", "unix://", "use redis://"},
		{"nobody there", "redis://:s3cr3t@127.0.0.1:1", "connection refused"},
		{"no such socket", "unix://:s3cr3t@/nowhere/s", "no such file"},
		{"wrong password", "redis://:s3cr3t@" + s.Addr, "WRONGPASS"},
		{"no password", "redis://" + s.Addr, "NOAUTH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := consume.Connect(c.url)
			require.ErrorContains(t, err, c.problem)
			require.NotContains(t, err.Error(), "s3cr3t")
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

func TestConnectWait(t *testing.T) {
	s := redistest.Start(t)
	s.Stop()
	tries := 0
	c, err := consume.ConnectWait(testContext(t), s.URL(), func(err error, wait time.Duration) {
		require.ErrorContains(t, err, s.Addr)
		require.Greater(t, wait, time.Duration(0))
		if tries++; tries == 2 {
			s.Start()
		}
	})
	require.NoError(t, err)
	c.Close()
	require.Equal(t, 2, tries)
}

func TestConnectWaitGivesUp(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right")
	unexpected := func(err error, _ time.Duration) { t.Errorf("tries again after %v", err) }

	_, err := consume.ConnectWait(testContext(t), "redis://:wrong@"+s.Addr, unexpected)
	require.ErrorContains(t, err, "WRONGPASS")
	_, err = consume.ConnectWait(testContext(t), "redis//", unexpected)
	require.ErrorContains(t, err, "use redis://")

	s.Stop()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err = consume.ConnectWait(ctx, s.URL(), func(error, time.Duration) { cancel(enough) })
	require.ErrorIs(t, err, enough)
}
