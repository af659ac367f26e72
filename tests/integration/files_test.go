package integration_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A proxy that has as many sessions as its limit of open files allows refuses
// further clients and says why; it does so too when there is no descriptor left
// to accept them with. Its limit is the hard one, whatever the soft one is.
func TestOutOfDescriptors(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "50", "lifetime.sessions": "0"}})
	const (
		soft, hard = 64, 96
		places     = (hard - 32 - 3) / 2
	)
	few := p.AddProxyWithFiles(t, soft, hard, harness.Settings{"limits.request": "60s"}) // the silent stay
	few.AwaitReady(t)
	// Go raises the soft one to just below the hard one.
	require.Contains(t, few.Process().Output(), fmt.Sprintf(`limit of open files  {"files": %d, "sessions": %d}`, hard-1, places))
	connect := func() (*harness.Raw, harness.Answer) {
		c := harness.Upgrade(t, few.Address, "/", "1.65.1", nil)
		return c, c.Answer(t)
	}
	refused := func(got harness.Answer) {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, got.Status)
		require.Equal(t, "out_of_descriptors", got.Code())
		require.NotEmpty(t, got.Header.Get("Retry-After"))
		require.Contains(t, got.Body, "ulimit -n")
	}

	var sessions []*harness.Raw
	for range places {
		c, got := connect()
		require.Equal(t, http.StatusSwitchingProtocols, got.Status)
		sessions = append(sessions, c)
	}
	_, got := connect()
	refused(got)
	require.NoError(t, sessions[0].Close())
	harness.Await(t, "a place is free again", func() bool {
		c, got := connect()
		sessions[0] = c
		return got.Status == http.StatusSwitchingProtocols
	})

	// Clients that say nothing take the rest.
	var silent []*harness.Raw
	for range hard {
		silent = append(silent, harness.Dial(t, few.Address))
	}
	harness.Await(t, "it has no descriptor left", func() bool { return harness.Logged(few.Process(), "out of file descriptors") })
	for range 3 {
		_, got = connect()
		refused(got)
	}
	// Nothing spins, neither while nobody comes nor while some come who say nothing:
	// each of these is given a tenth of a second and sent away.
	for name, hold := range map[string]func(){
		"nobody comes": func() { <-time.After(time.Second) },
		"silent clients come": func() {
			for range 10 {
				harness.Dial(t, few.Address).AwaitEnd(t)
			}
		},
	} {
		began, used := time.Now(), few.Process().CPU(t)
		hold()
		took, used := time.Since(began), few.Process().CPU(t)-used
		t.Logf("at the limit, while %s, it uses %s of CPU time in %s", name, used, took)
		require.Less(t, used, took/4, "it spins while %s", name)
	}
	_, got = connect()
	refused(got)
	for _, c := range silent {
		_ = c.Close()
	}
	for _, c := range sessions {
		_ = c.Close()
	}
	harness.Await(t, "it serves again", func() bool {
		c, got := connect()
		_ = c.Close()
		return got.Status == http.StatusSwitchingProtocols
	})
}
