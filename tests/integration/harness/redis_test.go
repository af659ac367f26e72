package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the tests of outages rely on: what Redis knows after each way to go and
// come back.
func TestRedisGoesAndComesBack(t *testing.T) {
	r := NewEmpty(t, Options{}).Redis
	set := func(value string) { require.NoError(t, r.do(t.Context(), "SET", "k", value).Error()) }
	get := func() string {
		got, _ := r.do(t.Context(), "GET", "k").ToString() // nil is empty
		return got
	}

	set("one")
	r.Kill()
	r.Start(t)
	require.Empty(t, get(), "nothing was to be kept")

	set("two")
	r.Persist(t)
	set("three")
	r.Kill()
	r.StartWithData(t)
	require.Equal(t, "three", get())
	r.Stop(t)
	r.StartWithData(t)
	require.Equal(t, "three", get())
	first := r.Serving()

	r.StartReplica(t)
	set("four")
	r.AwaitReplica(t)
	r.Failover(t)
	require.NotEqual(t, first, r.Serving())
	require.Equal(t, "four", get())
	set("five")
	require.False(t, Listens(first))

	r.StartReplica(t)
	r.Lag(t)
	set("never seen again")
	r.Failover(t)
	require.Equal(t, "five", get())

	r.StartReplica(t)
	old := r.now
	r.Promote(t)
	set("six")
	require.Equal(t, "five", old.do(t, "GET", "k"), "the old one still answers, and knows nothing of it")

	r.Kill()
	r.Start(t)
	require.Empty(t, get())
}
