package soak_test

import (
	"fmt"
	"slices"
	"strings"
)

// spans are the cycles that are compared, without those before, in which caches
// and pools fill up: the second quarter, and the last one. In the short form these
// are the first one and the last one.
func (s *soak) spans() (warm, end []measures) {
	n := len(s.taken)
	if n < 4 {
		return s.taken[:1], s.taken[n-1:]
	}
	quarter := n / 4
	return s.taken[quarter : 2*quarter], s.taken[n-quarter:]
}

// median of a measure. What comes and goes, such as a page that is about to be
// collected, is not what grows.
func median(of []measures, name string) float64 {
	var values []float64
	for _, m := range of {
		values = append(values, m[name])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (m measure) grew(warm, end float64) bool { return end > warm*(1+m.part)+m.more }

// judge fails the test for everything that grew.
func (s *soak) judge() {
	s.t.Helper()
	warm, end := s.spans()
	for _, m := range all {
		a, b := median(warm, m.name), median(end, m.name)
		if m.grew(a, b) {
			var each []string
			for _, t := range s.taken {
				each = append(each, fmt.Sprintf("%.4g", t[m.name]/m.unit))
			}
			s.t.Errorf("%s: from %.4g to %.4g; after each cycle %s", m.name, a/m.unit, b/m.unit, strings.Join(each, " "))
		}
	}
	for _, m := range s.taken {
		for _, none := range []string{"core files", "zombies"} {
			if m[none] > 0 {
				s.t.Errorf("%.0f %s", m[none], none)
			}
		}
	}
}

// table has all measures as Markdown.
func (s *soak) table() string {
	warm, end := s.spans()
	var b strings.Builder
	b.WriteString("| | first | warm | end | most |\n|---|---|---|---|---|\n")
	for _, m := range all {
		most := 0.0
		for _, t := range s.taken {
			most = max(most, t[m.name])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", m.name, m.text(s.taken[0][m.name]), m.text(median(warm, m.name)), m.text(median(end, m.name)), m.text(most))
	}
	return b.String()
}

func (m measure) text(v float64) string {
	if m.unit == 1 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v/m.unit)
}
