package app

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

func TestAnswered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		code   refusal.Code // empty: another worker is tried
		detail string
	}{
		"version":           {err: &dial.Refused{Status: 428, Body: "server version: v1.65"}, code: refusal.NoVersion, detail: "server version: v1.65"},
		"wrapped":           {err: fmt.Errorf("dialling: %w", &dial.Refused{Status: 428}), code: refusal.NoVersion},
		"broken handshake":  {err: &dial.Refused{Status: 400, Body: "Invalid Sec-WebSocket-Protocol header\n"}, code: refusal.ServerRefused, detail: "It answered 400 Bad Request: Invalid Sec-WebSocket-Protocol header."},
		"without a word":    {err: &dial.Refused{Status: 403}, code: refusal.ServerRefused, detail: "It answered 403 Forbidden."},
		"unknown status":    {err: &dial.Refused{Status: 499}, code: refusal.ServerRefused, detail: "It answered 499."},
		"no upgrade":        {err: &dial.Refused{Status: 426, Code: "upgrade_required", Body: "playwright-distributed: ..."}, code: refusal.UpgradeRequired},
		"browser is down":   {err: &dial.Refused{Status: 503, Code: "browser_down"}},
		"worker is full":    {err: &dial.Refused{Status: 503, Code: "worker_full"}},
		"gate":              {err: &dial.Refused{Status: 403, Code: "no_assignment"}},
		"server in trouble": {err: &dial.Refused{Status: 503}},
		"unreachable":       {err: errors.New("connection refused")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			no, final := answered(test.err)
			require.Equal(t, test.code != "", final)
			require.Equal(t, refusal.Refusal{Code: test.code, Detail: test.detail}, no)
		})
	}
}
