package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func ended() *event.Event {
	return &event.Event{Type: event.SessionEnded, At: time.UnixMilli(0), Pool: "default",
		Session: &event.Session{ID: "s-1", Reason: event.ReasonBrowserCrashed}}
}

func line(t *testing.T, color bool, e *event.Event) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, newHuman(&b, color).print(e))
	return b.String()
}

func TestColors(t *testing.T) {
	plainLine, colored := line(t, false, ended()), line(t, true, ended())
	require.NotContains(t, plainLine, "\x1b")
	require.Contains(t, colored, "\x1b[31mbrowser_crashed\x1b[0m")
	require.Contains(t, colored, "\x1b[36msession.ended   \x1b[0m")
	stripped := colored
	for _, c := range []color{red, green, yellow, magenta, cyan, dim, "0"} {
		stripped = strings.ReplaceAll(stripped, "\x1b["+string(c)+"m", "")
	}
	require.Equal(t, plainLine, stripped)

	e := ended()
	e.Session.Reason = event.ReasonClientClosed
	require.Contains(t, line(t, true, e), "\x1b[32mclient_closed")
}

func TestColorsOnlyOnATerminal(t *testing.T) {
	require.False(t, useColor(&bytes.Buffer{}))
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	require.False(t, useColor(f))

	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer device.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	require.True(t, useColor(device))
	t.Setenv("TERM", "dumb")
	require.False(t, useColor(device))
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	require.False(t, useColor(device))
}

func TestClientsCannotPlayTricksOnTheTerminal(t *testing.T) {
	e := ended()
	const trick = "\x1b[2Jgone\nnew line\u202e"
	e.Session.ID, e.Session.Name, e.Session.Client, e.Session.Reason = trick, trick, trick, trick
	e.Type = event.Type("session.ended" + trick)
	e.Session.Labels = map[string]string{trick: trick}
	e.Extra = map[string]string{trick: trick}
	got := line(t, false, e)
	require.Equal(t, 1, strings.Count(got, "\n"))
	require.NotContains(t, got, "\x1b")
	require.NotContains(t, got, "\u202e")
}

func TestColumnsGrowWithLongSubjects(t *testing.T) {
	var b bytes.Buffer
	h := newHuman(&b, false)
	long := ended()
	long.Session.ID = strings.Repeat("x", 30)
	require.NoError(t, h.print(long))
	require.NoError(t, h.print(ended()))
	lines := strings.Split(b.String(), "\n")
	require.Equal(t, strings.Index(lines[0], "browser_crashed"), strings.Index(lines[1], "browser_crashed"))
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1.0kB", 48213: "48.2kB", 482130: "482kB",
		999_700: "1.0MB", 1730554: "1.7MB", 5_000_000_000: "5.0GB", 7e15: "7000TB"} {
		require.Equal(t, want, size(n))
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{"abc": "abc", "a b": `"a b"`, `a"b`: `"a\"b"`, "ümlaut": "ümlaut", "\xff": `"\xff"`} {
		require.Equal(t, want, plain(in))
	}
}
