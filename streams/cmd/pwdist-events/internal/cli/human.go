package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// human prints events as lines for people.
type human struct {
	out     io.Writer
	color   bool
	subject int // width of the column
}

func newHuman(out io.Writer, color bool) *human { return &human{out: out, color: color, subject: 12} }

const (
	typeWidth = len("session.rejected")
	humanTime = "2006-01-02 15:04:05.000"
)

func (h *human) print(e *event.Event) error {
	subject := plain(e.Subject())
	h.subject = max(h.subject, utf8.RuneCountInString(subject))
	var b strings.Builder
	b.WriteString(h.paint(dim, e.At.Local().Format(humanTime)))
	fmt.Fprintf(&b, "  %s  %-*s", h.paint(typeColor(e), fmt.Sprintf("%-*s", typeWidth, plain(string(e.Type)))), h.subject, subject)
	if d := h.details(e); d != "" {
		b.WriteString("  " + d)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(h.out, b.String())
	return err
}

// details are what a line says beyond type and subject, as words and name=value
// pairs, the telling ones first.
func (h *human) details(e *event.Event) string {
	var d details
	switch {
	case e.Epoch != nil:
		d.duration("gap", e.Epoch.Gap, e.Type == event.PoolResumed)
		d.text("epoch", e.Epoch.ID)
	case e.Worker != nil:
		w := e.Worker
		d.word(h.paint(red, plain(w.Reason)))
		d.text("state", string(w.State))
		d.text("endpoint", w.Endpoint)
		d.text("browser", joined(w.Browser, w.BrowserVersion))
		d.text("playwright", w.Playwright)
		if e.Type == event.WorkerJoined {
			d.text("slots", strconv.FormatInt(w.Slots, 10))
			d.text("lifetime", strconv.FormatInt(w.Lifetime, 10))
		}
		d.text("isolation", strings.Join(w.Isolation, ","))
		d.labels(w.Labels)
	case e.Session != nil:
		h.sessionDetails(&d, e)
	}
	if !e.Happened.IsZero() {
		d.duration("late", e.At.Sub(e.Happened), true)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		d.text(plain(name), e.Extra[name])
	}
	return strings.Join(d, " ")
}

func (h *human) sessionDetails(d *details, e *event.Event) {
	s := e.Session
	color := red
	if s.Reason == event.ReasonClientClosed {
		color = green
	}
	d.word(h.paint(color, plain(string(s.Reason))))
	d.text("worker", s.Worker)
	if s.Attempt > 1 {
		d.text("attempt", strconv.FormatInt(s.Attempt, 10))
	}
	ended := e.Type == event.SessionEnded
	d.duration("active", s.Active, s.Started)
	d.duration("queued", s.Queued, ended || e.Type == event.SessionAssigned || e.Type == event.SessionRejected)
	d.duration("connect", s.Connect, s.Started || e.Type == event.SessionStarted && e.Happened.IsZero())
	if ended {
		d.text("up", traffic(s.BytesUp, s.MessagesUp))
		d.text("down", traffic(s.BytesDown, s.MessagesDown))
	}
	d.text("browser", joined(s.Browser, s.BrowserVersion))
	d.text("playwright", s.Playwright)
	d.text("name", s.Name)
	d.labels(s.Labels)
	d.text("token", s.Token)
	d.text("client", s.Client)
	d.text("proxy", s.Proxy)
}

type details []string

func (d *details) word(s string) {
	if s != "" {
		*d = append(*d, s)
	}
}

func (d *details) text(name, value string) {
	if value != "" {
		*d = append(*d, name+"="+plain(value))
	}
}

func (d *details) duration(name string, v time.Duration, shown bool) {
	if shown {
		*d = append(*d, name+"="+v.String())
	}
}

func (d *details) labels(labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		*d = append(*d, plain(name)+"="+plain(labels[name]))
	}
}

func joined(browser, version string) string {
	if browser == "" || version == "" {
		return browser
	}
	return browser + "/" + version
}

func traffic(bytes, messages int64) string {
	return fmt.Sprintf("%s/%d", size(bytes), messages)
}

// size is a number of bytes to three digits.
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + "B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		v /= 1000
		if v < 999.5 || unit == "TB" {
			prec := 0
			if v < 99.95 {
				prec = 1
			}
			return strconv.FormatFloat(v, 'f', prec, 64) + unit
		}
	}
	return ""
}

// plain quotes a value that would not stand as one word, or that could play tricks
// on the terminal: names and labels come from clients.
func plain(s string) string {
	odd := func(r rune) bool {
		return r == ' ' || r == '"' || r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r)
	}
	if strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// color is an SGR code.
type color string

const (
	red     color = "31"
	green   color = "32"
	yellow  color = "33"
	magenta color = "35"
	cyan    color = "36"
	dim     color = "2"
)

func typeColor(e *event.Event) color {
	switch e.Type.Family() {
	case "session":
		return cyan
	case "worker":
		return yellow
	}
	return magenta
}

func (h *human) paint(c color, s string) string {
	if !h.color || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// useColor follows no-color.org.
func useColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
