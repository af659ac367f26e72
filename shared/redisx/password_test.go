package redisx_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func connectWithFile(url, path string) (redisx.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return redisx.Connect(ctx, redisx.Options{Redis: config.Redis{URL: url, PasswordFile: path}, Log: zap.NewNop()})
}

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--requirepass", "hush-hush", "--user", "me", "on", ">hush-me", "~*", "&*", "+@all")
	for _, tt := range []struct{ url, text string }{
		{"redis://" + s.addr(), "hush-hush"},
		{"redis://me@" + s.addr(), "hush-me\n"},
		{"unix://me@" + s.socket(), "hush-me\r\n"},
	} {
		c, err := connectWithFile(tt.url, passwordFile(t, tt.text))
		require.NoError(t, err, tt.url)
		c.Close()
	}
}

// TestPasswordFileIsReadAgain: a new password takes effect with the next
// connection, without a restart.
func TestPasswordFileIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--user", "me", "on", ">hush-old", "~*", "&*", "+@all")
	path := passwordFile(t, "hush-old")
	c, err := connectWithFile("redis://me@"+s.addr(), path)
	require.NoError(t, err)
	defer c.Close()

	require.NoError(t, os.WriteFile(path, []byte("hush-new"), 0o600))
	s.admin("ACL", "SETUSER", "me", "resetpass", ">hush-new")
	s.admin("CLIENT", "KILL", "USER", "me")
	require.Eventually(t, func() bool {
		return c.Do(context.Background(), c.B().Ping().Build()).Error() == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func TestPasswordFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--requirepass", "hush-hush")
	for _, tt := range []struct{ name, url, path, want string }{
		{"unreadable", s.url(), t.TempDir(), "redis.password_file cannot be used: read"},
		{"empty", s.url(), passwordFile(t, "\n"), "is empty"},
		{"twice", "redis://:hush-hush@" + s.addr(), passwordFile(t, "hush-hush"), "take it out of redis.url"},
		{"wrong", s.url(), passwordFile(t, "hush-wrong"), "refuses the user or password of redis.url and redis.password_file"},
		{"no server needed to see it", "redis://127.0.0.1:1", t.TempDir(), "redis.password_file cannot be used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connectWithFile(tt.url, tt.path)
			require.ErrorContains(t, err, tt.want)
			require.True(t, redisx.IsSetup(err))
			require.NotContains(t, err.Error(), "hush")
		})
	}
}

// TestPasswordFileMayComeLater: what makes the password may start with us.
func TestPasswordFileMayComeLater(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--requirepass", "hush-hush")
	path := filepath.Join(t.TempDir(), "password")
	log, seen := logs()
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, err := redisx.Connect(ctx, redisx.Options{Redis: config.Redis{URL: s.url(), PasswordFile: path}, Log: log})
		if err == nil {
			c.Close()
		}
		result <- err
	}()
	require.Eventually(t, func() bool {
		return seen.FilterMessageSnippet("there is no such redis.password_file: "+path+"; trying again").Len() > 0
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, os.WriteFile(path, []byte("hush-hush"), 0o600))
	require.NoError(t, <-result)
}
