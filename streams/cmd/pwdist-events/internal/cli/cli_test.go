package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExitCode(t *testing.T) {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	r.Close()
	_, broken := w.WriteString("x")
	require.Error(t, broken)
	failure := errors.New("failure")
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		said string
	}{
		{"done", context.Background(), nil, 0, ""},
		{"stopped", stopped, failure, 0, ""},
		{"reader gone", context.Background(), fmt.Errorf("print: %w", broken), 0, ""},
		{"failure", context.Background(), failure, 1, "pwdist-events: failure\n"},
		{"mistake", context.Background(), usageError{failure}, 2, "pwdist-events: failure\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said bytes.Buffer
			require.Equal(t, c.code, exitCode(c.ctx, c.err, &said))
			require.Equal(t, c.said, said.String())
		})
	}
}
