// Package harness runs the real programs of a pool for tests: redis-server,
// proxies and workers as processes of their own on free loopback ports, pages
// for the browsers to open, and stock Playwright clients to open them.
//
// Nothing in it sleeps: it waits for conditions, each with a deadline and a
// name that the failure shows. Every process is a descendant of the test
// binary, which adopts orphans, so that none can stay behind unseen. It needs
// Linux for that.
//
// A [Pool] checks itself at its cleanup: the log of events is consistent,
// folding it gives the state in Redis, no slot stays taken, and every process
// ends with status 0 when it is asked to.
package harness
