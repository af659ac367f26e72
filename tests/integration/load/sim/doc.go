// Package sim plays a large pool on one Redis: the real scripts, the real reader
// of a proxy's inbox, and in the place of processes a thousand virtual workers
// and tens of thousands of virtual clients of three proxies, which share a few
// connections. Workers and proxies die meanwhile. What is checked is read from
// Redis and from the stream of events.
//
// A small one is part of all tests; `make sim` plays the whole.
package sim
