// Package load measures what the pool costs, beside HAProxy in the same run,
// and holds it at the number of connections that one machine allows. What it
// measures is real: our programs, Redis, HAProxy. Only the browsers behind them
// are stand-ins where nothing depends on them; see package standin.
//
// Its tests are small and part of all tests, so that the tools do not rot. The
// measurements run by `make bench` and `make bench-connections`.
package load
