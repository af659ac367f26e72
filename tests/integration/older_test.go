package integration_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// forget takes a ticket out of the data, with what the log has of it.
const forget = `local P, id = KEYS[1], ARGV[1]
local class = string.match(redis.call('GET', P .. 'session:' .. id), '([^\n]*)\n[^\n]*$')
redis.call('DEL', P .. 'session:' .. id)
redis.call('ZREM', P .. 'waiting', id)
redis.call('ZREM', P .. 'queue:' .. class, id)
for _, e in ipairs(redis.call('XRANGE', P .. 'events', '-', '+')) do
  local _ = string.find(table.concat(e[2], ' '), 'session ' .. id, 1, true) and redis.call('XDEL', P .. 'events', e[1])
end
return class`

// TestRedisThatIsBackWithOlderData was away for too short a time to be missed, and knows
// less than before: who waits is queued again.
func TestRedisThatIsBackWithOlderData(t *testing.T) {
	t.Parallel()
	p := harness.NewEmpty(t, harness.Options{Proxy: harness.Settings{"queue.wait": "5m"}})
	p.AddProxy(t, nil)
	p.Proxies[0].AwaitReady(t)
	visit := visitLater(t, p.URL("name=waits"))
	id := p.Log.AwaitSession(t, "waits", event.SessionQueued).Session.ID
	c := p.Redis.Client
	class, err := c.Do(t.Context(), c.B().Eval().Script(forget).Numkeys(1).Key(p.Keys.Prefix()).Arg(id).Build()).ToString()
	require.NoError(t, err)
	require.NotEmpty(t, class)
	require.Empty(t, queue(t, p.Proxies[0]))

	require.NoError(t, c.Do(t.Context(), c.B().Arbitrary("CLIENT", "KILL", "TYPE", "pubsub").Build()).Error())
	harness.Await(t, "it is queued again", func() bool { return slices.Equal(queue(t, p.Proxies[0]), []string{"waits"}) })
	p.AddWorker(t, nil)
	require.NoError(t, <-visit)
}
