//go:build race

package harness

// The programs are built as the tests are: with the race detector or without.
var raceFlags = []string{"-race"}
