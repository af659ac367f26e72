package event

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConform(t *testing.T) {
	require.NoError(t, Conform(endedWith(t)))
	require.NoError(t, Conform(endedWith(t, "labels", `{ "team": "shop" }`)), "writers need not write JSON as Go does")
	for _, c := range []struct{ field, value, problem string }{
		{"v", "x", "malformed"},
		{"v", "2", "schema version 2"},
		{"type", "session.paused", `unknown type "session.paused"`},
		{"pool", "Default", "pool name"},
		{"id", "s-0b6c2d94e1f8:session.started:1", "is not <subject>:<type>:<n>"},
		{"id", "s-0b6c2d94e1f8:session.ended:", "is not <subject>:<type>:<n>"},
		{"reason", "abducted", `unknown reason "abducted"`},
		{"reason", "-", `field "reason" is missing`},
		{"reason", "", `field "reason" is empty`},
		{"bytes_up", "-", `field "bytes_up" is missing`},
		{"connect_ms", "-", `field "connect_ms" is missing`},
		{"active_ms", "007", `field "active_ms" is "007" instead of "7"`},
		{"name", "", `field "name" should be left out`},
		{"labels", "{}", `field "labels" should be left out`},
		{"region", "eu", `unknown field "region"`},
		{"seq", "4", `unknown field "seq"`},
	} {
		t.Run(c.field+"="+c.value, func(t *testing.T) {
			require.ErrorContains(t, Conform(endedWith(t, c.field, c.value)), c.problem)
		})
	}

	fields := readFields(t, "worker.joined-retiring")
	fields["state"] = "tired"
	require.ErrorContains(t, Conform(fields), `state "tired"`)
	fields["state"] = "ready"
	require.Error(t, Conform(fields))
}
