package gate

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// leastSilence is how long a peer's machine is heard of nothing at least until it is taken for gone.
// An idle one may be silent for 40 s, and a probe or two may be lost (see keepAlive).
const leastSilence = time.Minute

// watchSilence ends a session whose client's machine, which is the proxy's, is gone without
// a word: for the limit it has acknowledged nothing of what it was sent, be it no more
// than a probe of the kernel. One that only leaves no room still acknowledges, so a slow
// reader is not meant. The kernel would take far longer (see limitSilence), and the pool
// leaves the session to us. The caller must call stop.
func (r *relay) watchSilence(limit time.Duration) (stop func() bool) {
	var t *time.Timer
	// Once may be the moment between a probe, of which there may be one in two minutes, and its answer.
	seen := false
	t = time.AfterFunc(time.Hour, func() {
		silent, open := r.client.silence()
		switch long := silent >= limit; {
		case long && seen:
			r.because(proxyLost)
			r.cut()
		case open:
			seen = long
			t.Reset(limit / 4)
		}
	})
	t.Reset(limit / 4) // not before t is there for the function
	return t.Stop
}

// silence is how long the peer's machine has owed an answer; open is false when nobody
// can know any more.
func (s *socket) silence() (silent time.Duration, open bool) {
	if _, ok := s.conn.(*net.TCPConn); !ok {
		return 0, false
	}
	err := s.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if open = err == nil; open && info.Retransmits+info.Probes > 0 {
			silent = time.Duration(info.Last_ack_recv) * time.Millisecond
		}
	})
	return silent, open && err == nil
}
