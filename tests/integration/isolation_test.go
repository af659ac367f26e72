package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Two sessions on one worker, which is one browser: neither sees cookies,
// storage or contexts of the other, and the end of one is nothing to the other
// (I9 for what an ordinary script does).
func TestSessionsDoNotSeeEachOther(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	a, b := harness.Connect(t, p.URL("name=a")), harness.Connect(t, p.URL("name=b"))

	const site = "https://example.com/"
	contextA := a.NewContext(t)
	pageA := contextA.NewPage(t)
	require.NoError(t, pageA.Goto(site))
	contextA.AddCookies(t, harness.Cookie{Name: "who", Value: "a", URL: site})
	pageA.Evaluate(t, `(localStorage.setItem('who', 'a'), sessionStorage.setItem('who', 'a'), document.cookie = 'page=a')`)
	require.Equal(t, "a", pageA.Evaluate(t, `localStorage.getItem('who')`))
	require.Len(t, contextA.Cookies(t), 2)

	require.Zero(t, b.Contexts(t))
	contextB := b.NewContext(t)
	pageB := contextB.NewPage(t)
	require.NoError(t, pageB.Goto(site))
	require.Empty(t, contextB.Cookies(t))
	require.Empty(t, pageB.Evaluate(t, `document.cookie`))
	require.Empty(t, pageB.Evaluate(t, `localStorage.getItem('who')`))
	require.Empty(t, pageB.Evaluate(t, `sessionStorage.getItem('who')`))
	require.Equal(t, 1, a.Contexts(t))
	require.Equal(t, 1, b.Contexts(t))

	require.NoError(t, a.Close())
	a.AwaitLost(t)
	require.True(t, b.Connected())
	require.NoError(t, pageB.Goto("https://www.example.com/"))
	title, err := pageB.Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)

	// The next session on that browser finds nothing of the first.
	next := harness.Connect(t, p.URL("name=next"))
	require.Zero(t, next.Contexts(t))
	pageNext := next.OpenPage(t, site)
	require.Empty(t, pageNext.Evaluate(t, `localStorage.getItem('who')`))
	require.Empty(t, pageNext.Evaluate(t, `document.cookie`))
}
