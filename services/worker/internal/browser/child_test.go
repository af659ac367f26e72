package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheEssenceOfALongReport(t *testing.T) {
	for name, c := range map[string]struct{ report, want string }{
		"what the browser said": {
			`    throw er;
ProtocolError: Protocol error (Browser.getVersion): Internal server error, session closed. Failed to launch browser.
<launching> /usr/bin/chromium --headless
[pid=1][err] first
[pid=1][err] error while loading shared libraries: libfoo.so: cannot open shared object file
[pid=1] <process did exit: exitCode=127, signal=null>
    at new Promise (<anonymous>)`,
			"error while loading shared libraries: libfoo.so: cannot open shared object file",
		},
		"else the error": {
			`node:internal/process/promises:391
Error: Failed to launch chromium because executable doesn't exist at /nonexistent/chrome Failed to launch browser.
    at Chromium.resolveExecutablePath (/x.js:1:2)
  cause: Error: something deeper`,
			"Failed to launch chromium because executable doesn't exist at /nonexistent/chrome",
		},
		"else nothing": {"Node.js v20.20.2\n", ""},
		"not too much": {"[pid=1][err] " + strings.Repeat("é", 400), strings.Repeat("é", 150) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			var out tail
			for line := range strings.SplitSeq(c.report, "\n") {
				out.add(line)
			}
			require.Equal(t, c.want, out.essence())
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	var out tail
	for i := range 10 * tailLines {
		out.add(fmt.Sprint("[pid=1][err] line ", i))
	}
	require.Len(t, out.lines, tailLines)
	require.Equal(t, fmt.Sprint("line ", 10*tailLines-1), out.essence())
}

func TestTheBrowserLearnsNothingOfTheWorker(t *testing.T) {
	got := environment([]string{"PATH=/bin", "REDIS_URL=redis://:secret@r", "PWDIST_REDIS__URL=redis://:secret@r", "TMPDIR=/var/tmp", "HOME=/root", aroundProxy + "=1"}, "/scratch/tmp")
	require.Equal(t, []string{"PATH=/bin", "HOME=/root", "TMPDIR=/scratch/tmp"}, got)
}
