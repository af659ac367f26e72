// Package cli is the command line of pwdist-events.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

// Main runs the command with these arguments and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A reader that has enough, such as head, is a normal end: without this the
	// process would die of the signal instead of seeing the error.
	signal.Ignore(syscall.SIGPIPE)
	whenReaderGone(os.Stdout, stop)

	root := newRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	return exitCode(ctx, root.ExecuteContext(ctx), os.Stderr)
}

// exitCode tells of an error on stderr, unless it is a normal end: somebody
// stopped the command, or has read enough.
func exitCode(ctx context.Context, err error, stderr io.Writer) int {
	if err == nil || ctx.Err() != nil || errors.Is(err, syscall.EPIPE) {
		return 0
	}
	fmt.Fprintf(stderr, "pwdist-events: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// source says which log to read.
type source struct {
	redis        string
	passwordFile string
	pool         string
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	var src source
	root := &cobra.Command{
		Use:           "pwdist-events",
		Short:         "Show the event log of a browser pool",
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if src.pool == "" {
				src.pool = cmp.Or(os.Getenv("PWDIST_POOL"), "default")
			}
			if err := event.CheckPool(src.pool); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&src.pool, "pool", "", "name of the pool (default $PWDIST_POOL, else default)")
	flags.StringVar(&src.redis, "redis", "",
		"URL of Redis (default $PWDIST_REDIS__URL, else $REDIS_URL, else "+localRedis+")")
	flags.StringVar(&src.passwordFile, "password-file", "",
		"file that holds the password of Redis (default $PWDIST_REDIS__PASSWORD_FILE)")
	root.AddCommand(newTail(&src), newStats(&src), newVersion())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown argument %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

const localRedis = "redis://localhost:6379"

// url is where Redis is. It is not the default of the flag, because --help would
// print it with its password.
func (s *source) url() (string, error) {
	address := strings.TrimSpace(cmp.Or(s.redis, os.Getenv("PWDIST_REDIS__URL"), os.Getenv("REDIS_URL"), localRedis))
	file := cmp.Or(s.passwordFile, os.Getenv("PWDIST_REDIS__PASSWORD_FILE"))
	if file == "" {
		return address, nil
	}
	password, err := os.ReadFile(file) //nolint:gosec // the file that the user names
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return address, nil //nolint:nilerr // whoever connects says what is wrong, without quoting it
	}
	// Editors and echo end a file with a newline that is not meant.
	u.User = url.UserPassword(u.User.Username(), strings.TrimRight(string(password), "\r\n"))
	return u.String(), nil
}
