package faulttable

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Column of the table.
type Column int

// The columns, after the one that names the fault.
const (
	Noticed   Column = iota // by what the pool offers: readiness, log of events
	Connected               // what a client sees whose session runs
	Waiting                 // what a new or waiting client sees
	Recovered               // when a new client is served as before
)

var titles = [...]string{"noticed within", "a connected client", "a new or waiting client", "recovered within"}

// Row is what was seen of one fault, over all runs.
type Row struct {
	Fault string
	Marks []mark
}

// mark is one observation. Its text has a %s where the time goes.
type mark struct {
	Column Column
	Text   string
	Worst  time.Duration
	Runs   int
}

// Saw notes an observation; of the times of equal ones the longest counts.
func (r *Row) Saw(c Column, text string, took time.Duration) {
	at := slices.IndexFunc(r.Marks, func(m mark) bool { return m.Column == c && m.Text == text })
	if at < 0 {
		at = len(r.Marks)
		r.Marks = append(r.Marks, mark{Column: c, Text: text})
	}
	m := &r.Marks[at]
	m.Worst = max(m.Worst, took)
	m.Runs++
}

// Runs is how often the rarest observation was made, and the most frequent one.
// They differ when runs went differently.
func (r *Row) Runs() (least, most int) {
	for i, m := range r.Marks {
		if i == 0 || m.Runs < least {
			least = m.Runs
		}
		most = max(most, m.Runs)
	}
	return least, most
}

// Worst is the longest time in a column.
func (r *Row) Worst(c Column) (worst time.Duration) {
	for _, m := range r.Marks {
		if m.Column == c {
			worst = max(worst, m.Worst)
		}
	}
	return worst
}

func (r *Row) cell(c Column) string {
	var parts []string
	for _, m := range r.Marks {
		if m.Column != c {
			continue
		}
		if strings.Contains(m.Text, "%s") {
			parts = append(parts, fmt.Sprintf(m.Text, say(m.Worst)))
		} else {
			parts = append(parts, m.Text)
		}
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, "; ")
}

// say rounds up to tenths of a second.
func say(d time.Duration) string {
	tenths := (d + 100*time.Millisecond - 1) / (100 * time.Millisecond)
	return fmt.Sprintf("%d.%d s", tenths/10, tenths%10)
}

// Markdown is the table of some rows.
func Markdown(rows []*Row) string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, title := range titles {
		b.WriteString(" " + title + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(titles)) + "\n")
	for _, r := range rows {
		b.WriteString("| " + r.Fault + " |")
		for c := range titles {
			b.WriteString(" " + r.cell(Column(c)) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Replace puts a table between the marks of its name in a document:
//
//	<!-- table: name -->
//	<!-- end -->
func Replace(document, name, table string) (string, error) {
	begin, end := "<!-- table: "+name+" -->\n", "<!-- end -->"
	head, rest, found := strings.Cut(document, begin)
	if !found {
		return "", fmt.Errorf("the document has no line %q", strings.TrimSpace(begin))
	}
	_, tail, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("the document has no line %q behind the table %s", end, name)
	}
	return head + begin + table + end + tail, nil
}

func (c Column) String() string { return titles[c] }
