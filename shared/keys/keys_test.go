package keys_test

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func TestFor(t *testing.T) {
	for name, ok := range map[string]bool{
		"default": true, "a": true, "team-1_x": true, strings.Repeat("a", 40): true,
		"": false, "Default": false, "a b": false, "a{b}": false, "*": false, "a:b": false, strings.Repeat("a", 41): false,
	} {
		_, err := keys.For(name)
		require.Equal(t, ok, err == nil, "%q: %v", name, err)
		require.Equal(t, ok, event.CheckPool(name) == nil, "%q: who reads the log must agree", name)
	}
}

func TestKeysShareASlotAndAPrefix(t *testing.T) {
	p, err := keys.For("default")
	require.NoError(t, err)
	require.Equal(t, "{pwdist:default}:", p.Prefix())
	require.Equal(t, event.Key("default"), p.Events())
	seen := map[string]bool{}
	for _, key := range []string{
		p.Worker("x"), p.Probe("x"), p.Changed(), p.Workers(), p.Beats(), p.Proxies(), p.Held("x"), p.Owned("x"), p.Served("x"), p.Left("x"),
		p.Retiring(), p.Parting(), p.Owing(), p.Recycling(), p.Endpoints(), p.Flavours(), p.Members("x"), p.Fading(), p.Fits(), p.Free("x"), p.Least(), p.Session("x"), p.Ended(),
		p.Leases(), p.Classes(), p.Queue("x"), p.Waiting(), p.Inbox("x"), p.Token("x"), p.Events(), p.Head(), p.Tick(), p.Seq(), p.Schema(),
	} {
		require.True(t, strings.HasPrefix(key, p.Prefix()), key)
		require.False(t, seen[key], "%s is two things", key)
		seen[key] = true
	}
}

func TestWorkerID(t *testing.T) {
	p, err := keys.For("default")
	require.NoError(t, err)
	id, ok := p.WorkerID(p.Worker("w1"))
	require.True(t, ok)
	require.Equal(t, "w1", id)
	for _, key := range []string{p.Worker(""), p.Workers(), p.Held("w1"), "worker:w1", ""} {
		_, ok := p.WorkerID(key)
		require.False(t, ok, key)
	}
}

// The pattern of the subscription has the keys of workers and of nothing else.
func TestWorkerPattern(t *testing.T) {
	p, err := keys.For("team-1_x")
	require.NoError(t, err)
	for key, want := range map[string]bool{p.Worker("w"): true, p.Worker(""): true, p.Workers(): false, p.Held("w"): false} {
		got, err := path.Match(p.WorkerPattern(), key)
		require.NoError(t, err)
		require.Equal(t, want, got, key)
	}
}
