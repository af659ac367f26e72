package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

type tailOptions struct {
	from     string
	json     bool
	noFollow bool
	limit    int
	filter   filter
}

func newTail(src *source) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events, one to a line, as they happen",
		Example: `  pwdist-events tail                                  what happens from now on
  pwdist-events tail --from 10m --type 'session.*'    and in the last ten minutes
  pwdist-events tail --from 0 --no-follow --json      all there is, as JSON lines
  pwdist-events tail --from 0 --session s-1           the life of one session`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), src, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "",
		"where to begin: 0, now, a stream id, a duration such as 10m, or a time in RFC 3339 (default now, with --no-follow 0)")
	flags.BoolVar(&o.json, "json", false, "print JSON lines")
	flags.BoolVar(&o.noFollow, "no-follow", false, "stop at the end of the log")
	flags.IntVar(&o.limit, "limit", 0, "stop after this many events (0 is without limit)")
	flags.StringSliceVar(&o.filter.types, "type", nil, "only events of this type; * matches any characters; can be repeated")
	flags.StringVar(&o.filter.session, "session", "", "only events of this session")
	flags.StringVar(&o.filter.worker, "worker", "", "only events of this worker and of the sessions that it has")
	return cmd
}

func (o *tailOptions) run(ctx context.Context, src *source, stdout, stderr io.Writer) error {
	from, err := o.position()
	if err != nil {
		return err
	}
	events, closeClient, err := o.open(ctx, src, from, stderr)
	if err != nil {
		return err
	}
	defer closeClient()

	out := bufio.NewWriter(stdout)
	show := newHuman(out, useColor(stdout)).print
	if o.json {
		show = func(e *event.Event) error { return printJSON(out, e) }
	}
	warned := false
	printed := 0
	for e, err := range events {
		if err != nil {
			if _, newer := errors.AsType[*event.VersionError](err); !newer {
				if !goesOn(err) {
					return errors.Join(out.Flush(), err)
				}
				fmt.Fprintf(stderr, "pwdist-events: %v\n", err)
				continue
			}
			if !warned {
				fmt.Fprintf(stderr, "pwdist-events: %v\n", err)
				warned = true
			}
		}
		if !o.filter.match(&e) {
			continue
		}
		if err := show(&e); err != nil {
			return err
		}
		// Nobody waits for a line of a log that is read to its end.
		if !o.noFollow {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		if printed++; printed == o.limit {
			break
		}
	}
	return out.Flush()
}

func (o *tailOptions) position() (consume.Position, error) {
	if err := o.filter.check(); err != nil {
		return consume.Position{}, usageError{err}
	}
	if o.limit < 0 {
		return consume.Position{}, usageError{fmt.Errorf("--limit %d: use a number from 1, or 0 for no limit", o.limit)}
	}
	from := o.from
	if from == "" {
		from = "now"
		if o.noFollow {
			from = "0"
		}
	}
	p, err := consume.ParsePosition(from, time.Now())
	if err != nil {
		return p, usageError{fmt.Errorf("--from: %w", err)}
	}
	return p, nil
}

// open connects and returns the events to print. Whoever follows waits for Redis;
// whoever wants to know what there is wants to know that it is not there.
func (o *tailOptions) open(ctx context.Context, src *source, from consume.Position, stderr io.Writer) (iter.Seq2[event.Event, error], func(), error) {
	address, err := src.url()
	if err != nil {
		return nil, nil, err
	}
	if o.noFollow {
		client, err := consume.Connect(address)
		if err != nil {
			return nil, nil, err
		}
		return consume.Replay(ctx, client, src.pool, from, consume.End()), client.Close, nil
	}
	retrying := func(err error, wait time.Duration) {
		fmt.Fprintf(stderr, "pwdist-events: trying again in %v: %v\n", wait.Round(10*time.Millisecond), err)
	}
	client, err := consume.ConnectWait(ctx, address, retrying)
	if err != nil {
		return nil, nil, err
	}
	return consume.Tail(ctx, client, src.pool, from, consume.WithOnRetry(retrying)), client.Close, nil
}

// goesOn tells whether the reading goes on after an error.
func goesOn(err error) bool {
	var gap *consume.GapError
	var malformed *event.MalformedError
	return errors.As(err, &gap) || errors.As(err, &malformed)
}

func printJSON(w io.Writer, e *event.Event) error {
	line, err := e.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
