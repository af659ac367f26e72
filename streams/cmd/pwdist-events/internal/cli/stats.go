package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func newStats(src *source) *cobra.Command {
	var from string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Sum up the sessions that ended: how many, why, how long",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := consume.ParsePosition(from, time.Now())
			if err != nil {
				return usageError{fmt.Errorf("--from: %w", err)}
			}
			s, err := collect(cmd.Context(), src, p, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(s.summary())
			}
			return s.summary().print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&from, "from", "0", "where to begin, as for tail")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tally is what is counted while the log is read.
type tally struct {
	ended, rejected         map[event.Reason]int
	queued, connect, active []time.Duration // active and connect of started sessions only
	bytesUp, bytesDown      int64
}

// repeated is how far apart the two records of one fact can be.
const repeated = 100_000

func collect(ctx context.Context, src *source, from consume.Position, stderr io.Writer) (*tally, error) {
	address, err := src.url()
	if err != nil {
		return nil, err
	}
	client, err := consume.Connect(address)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t := &tally{ended: map[event.Reason]int{}, rejected: map[event.Reason]int{}}
	for e, err := range consume.Distinct(consume.Replay(ctx, client, src.pool, from, consume.End()), repeated) {
		var newer *event.VersionError
		if err != nil && !errors.As(err, &newer) {
			if !goesOn(err) {
				return nil, err
			}
			fmt.Fprintf(stderr, "pwdist-events: %v\n", err)
			continue
		}
		t.add(&e)
	}
	return t, nil
}

func (t *tally) add(e *event.Event) {
	s := e.Session
	switch e.Type {
	case event.SessionRejected:
		t.rejected[s.Reason]++
	case event.SessionEnded:
		t.ended[s.Reason]++
		t.queued = append(t.queued, s.Queued)
		t.bytesUp += s.BytesUp
		t.bytesDown += s.BytesDown
		if s.Started {
			t.connect = append(t.connect, s.Connect)
			t.active = append(t.active, s.Active)
		}
	}
}

// summary is what stats prints; as JSON it is for programs, so its names stay.
type summary struct {
	Ended     map[event.Reason]int `json:"ended"`
	Rejected  map[event.Reason]int `json:"rejected"`
	Queued    quantiles            `json:"queued"`
	Connect   quantiles            `json:"connect"`
	Active    quantiles            `json:"active"`
	BytesUp   int64                `json:"bytes_up"`
	BytesDown int64                `json:"bytes_down"`
}

// quantiles are in ms.
type quantiles struct {
	Count  int   `json:"count"`
	Median int64 `json:"p50_ms"`
	P95    int64 `json:"p95_ms"`
	Max    int64 `json:"max_ms"`
}

func newQuantiles(d []time.Duration) quantiles {
	if len(d) == 0 {
		return quantiles{}
	}
	slices.Sort(d)
	at := func(p float64) int64 { return d[int(p*float64(len(d)-1)+0.5)].Milliseconds() }
	return quantiles{Count: len(d), Median: at(0.5), P95: at(0.95), Max: at(1)}
}

func (t *tally) summary() *summary {
	return &summary{Ended: t.ended, Rejected: t.rejected, Queued: newQuantiles(t.queued), Connect: newQuantiles(t.connect),
		Active: newQuantiles(t.active), BytesUp: t.bytesUp, BytesDown: t.bytesDown}
}

func (s *summary) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	counts(w, "ended", s.Ended)
	counts(w, "rejected", s.Rejected)
	fmt.Fprintf(w, "\n\tmedian\tp95\tmax\n")
	for _, row := range []struct {
		name string
		q    quantiles
	}{{"queued", s.Queued}, {"connect", s.Connect}, {"active", s.Active}} {
		if row.q.Count > 0 {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.name, millis(row.q.Median), millis(row.q.P95), millis(row.q.Max))
		}
	}
	fmt.Fprintf(w, "\nup\t%s\ndown\t%s\n", size(s.BytesUp), size(s.BytesDown))
	return w.Flush()
}

// counts prints the most frequent reason first.
func counts(w io.Writer, name string, m map[event.Reason]int) {
	total := 0
	for _, n := range m {
		total += n
	}
	fmt.Fprintf(w, "%s\t%d\n", name, total)
	reasons := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(reasons, func(a, b event.Reason) int { return m[b] - m[a] })
	for _, r := range reasons {
		fmt.Fprintf(w, "  %s\t%d\n", plain(string(r)), m[r])
	}
}

func millis(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
