package integration_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A client asks for much and reads none of it. What the event says of its end is what
// the proxy has judged, although the worker, which sees only a connection that
// closes, reports the end much sooner than the proxy would.
func TestAClientThatNeverReadsIsStalled(t *testing.T) {
	t.Parallel()
	p := harness.New(t, harness.Options{Workers: 1, Proxy: harness.Settings{"relay.stall": "1s"}})
	c, browser := rawSession(t, p, false)
	call := func(id int, guid, method, params string) (made string) {
		_, err := c.Write(harness.Frame(harness.Final|harness.OpText, harness.Call(id, guid, method, params)))
		require.NoError(t, err)
		answer, before := c.AwaitCall(t, id)
		require.False(t, answer.Ended)
		return answer.Text + strings.Join(before, "\n")
	}
	context := regexp.MustCompile(`browser-context@\w+`).FindString(call(2, browser, "newContext", "{}"))
	frame := regexp.MustCompile(`frame@\w+`).FindString(call(3, context, "newPage", "{}"))
	require.NotEmpty(t, frame)

	// More than all buffers on the way take.
	const answers, answerSize = 16, 4 << 20
	for i := range answers {
		_, err := c.Write(harness.Frame(harness.Final|harness.OpText, harness.Call(10+i, frame, "evaluateExpression",
			fmt.Sprintf(`{"expression":"'x'.repeat(%d)","arg":{"value":{"v":"undefined"},"handles":[]}}`, answerSize))))
		require.NoError(t, err)
	}
	end := p.Log.AwaitSession(t, "raw", event.SessionEnded)
	require.Equal(t, event.ReasonStalled, end.Session.Reason)
	require.NotZero(t, end.Session.BytesDown)
	require.Less(t, end.Session.BytesDown, int64(answers*answerSize))
	require.NotZero(t, end.Session.MessagesUp)
	require.NotZero(t, end.Session.MessagesDown)

	title, err := harness.Visit(t, p.URL("name=next"), "http://example.com/")
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
}
