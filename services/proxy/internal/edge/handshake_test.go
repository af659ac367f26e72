package edge

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	h := http.Header{"A": {"a b", " a", "a\t", "\t a\tb \t", "", " ", "\va\v"}, "B": nil}
	trim(h)
	require.Equal(t, http.Header{"A": {"a b", "a", "a", "a\tb", "", "", "\va\v"}, "B": nil}, h)
}

func TestSound(t *testing.T) {
	t.Parallel()
	require.True(t, sound(http.Header{"A": {"", "a\tb ~\x80ÿ"}, "B": nil}))
	for _, c := range []string{"\x00", "\n", "\r", "\x1f", "\x7f"} {
		require.False(t, sound(http.Header{"A" + c: {"a"}}), "%q in a name", c)
		require.False(t, sound(http.Header{"A": {"a", "b" + c}}), "%q in a value", c)
	}
}
