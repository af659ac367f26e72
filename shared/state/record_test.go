package state_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestRecordFields(t *testing.T) {
	lines := "w1\n2\np1\n1\n2\n3\nchromium\n140\n1.65\nname\n{}\nci\n192.0.2.1"
	for text, want := range map[string][]string{
		"queued\n" + lines + "\n7\nclass\n{}": {"seq", "7", "class", "class", "demand", "{}"},
		"active\n" + lines + "\nonce\n9":      {"nonce", "once", "beat", "9"},
		"ended\n" + lines + "\nkilled\n4":     {"reason", "killed", "ended_at", "4"},
	} {
		f := state.RecordFields(text)
		require.Equal(t, "w1 2 p1 192.0.2.1", f["worker"]+" "+f["attempt"]+" "+f["proxy"]+" "+f["client"])
		require.Len(t, f, 14+len(want)/2)
		for i := 0; i < len(want); i += 2 {
			require.Equal(t, want[i+1], f[want[i]])
		}
	}
	for _, text := range []string{"", "queued", "queued\n" + lines, "elsewhere\n" + lines + "\n1\n2"} {
		require.Empty(t, state.RecordFields(text))
	}
}

// A name of more than one line must not shift what stands below it.
func TestRecordHasALinePerField(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	r := request("s1")
	r.Name, r.Token, r.Client, r.Labels = "a\nb", "c\nd", "e\nf", map[string]string{"k": "g\nh"}
	p.ask(r)
	p.start("s1", "w1", 1)
	p.joinAs(state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Rejoin: true, Sessions: []state.Serving{
		{Session: "s1", Proxy: "p1", Attempt: 1},
		{Session: "s2", Proxy: "p1", Attempt: 1, Name: r.Name, Token: r.Token, Client: r.Client, Labels: r.Labels, Age: time.Second},
	}})
	for _, id := range []string{"s1", "s2"} {
		got, ok, err := p.Record(ctx, id)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, state.Active, got.Phase)
		require.Equal(t, []string{"a b", "c d", "e f"}, []string{got.Name, got.Token, got.Client})
		require.Equal(t, r.Labels, got.Labels)
	}
}
