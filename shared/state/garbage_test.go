package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A proxy's heartbeat has Redis collect what scripts leave less often, also after
// Redis was restarted and knows nothing of it any more.
func TestGarbageIsCollectedLessOften(t *testing.T) {
	p := newPool(t)
	pause := func(next string) int64 {
		before, err := p.c.Do(t.Context(), p.c.B().Eval().Script("return collectgarbage('setpause', "+next+")").Numkeys(0).Build()).ToInt64()
		require.NoError(t, err)
		return before
	}
	pause("200") // what Lua begins with
	p.proxyBeat("p1")
	require.EqualValues(t, 1000, pause("200"))
	p.proxyBeat("p1")
	require.EqualValues(t, 1000, pause("200"))
}
