package browser

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// silentServer stands in for a Playwright server that hangs once it listens,
// which the real one cannot be made to do at the right moment: it accepts
// connections and never says a word.
const silentServer = `
const config = JSON.parse(require('node:fs').readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'));
require('node:net').createServer(() => console.error('somebody came')).listen(config.port, () => console.log(config.port + config.wsPath));
`

func TestAStopDoesNotWaitForAServerThatSaysNothing(t *testing.T) {
	pw, _ := fakePlaywright(t)
	write(t, pw.cli, silentServer)
	program := filepath.Join(t.TempDir(), "browser")
	write(t, program, "")
	core, logs := observer.New(zap.DebugLevel)
	s := supervise(t, func(o *Options) {
		o.PlaywrightDir = filepath.Dir(filepath.Dir(filepath.Dir(pw.cli)))
		o.Executable, o.StartTimeout, o.Log = program, 2*patience, zap.New(core)
	})
	s.await("it is greeted", func() bool { return logs.FilterMessage("playwright: somebody came").Len() > 0 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = s.Stop(context.Background())
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it waits for the server")
	}
	require.Empty(t, s.states, "that it never was up is nobody's fault")
}
