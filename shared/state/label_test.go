package state_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestValidLabel(t *testing.T) {
	t.Parallel()
	for key, value := range map[string]string{
		"region": "eu", "a": "=", "k8s.io/zone_1-b": "Zürich, 1 = 2", strings.Repeat("k", 63): strings.Repeat("v", 100),
	} {
		require.True(t, state.ValidLabel(key, value), "%q=%q", key, value)
	}
	for key, value := range map[string]string{
		"": "eu", "empty": "", "a b": "eu", "ü": "eu", "a=b": "eu", "line": "a\nb", "bytes": "\xff",
		strings.Repeat("k", 64): "eu", "long": strings.Repeat("v", 101),
	} {
		require.False(t, state.ValidLabel(key, value), "%q=%q", key, value)
	}
}
