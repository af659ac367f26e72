package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// connect opens a tunnel: what TLS connections and WebSockets of pages use, and
// whatever the Playwright server requests for clients.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	to, err := target(r.Host, "")
	if err != nil {
		http.Error(w, "CONNECT needs a host and a port.", http.StatusBadRequest)
		return
	}
	up, err := p.dialer.dial(r.Context(), "tcp", to)
	if err != nil {
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			explain(w, refusal)
			return
		}
		http.Error(w, "The server cannot be reached.", http.StatusBadGateway)
		return
	}
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	p.tunnels.Inc()
	defer p.tunnels.Dec()
	// The server no longer ends what was taken from it.
	stop := context.AfterFunc(p.ctx, func() {
		_ = up.Close()
		_ = down.Close()
	})
	defer stop()
	if _, err := io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = up.Close()
		_ = down.Close()
		return
	}
	limitStuck(up, p.stuck)
	splice(down, buffered.Reader, up, p.linger)
}

// limitStuck has the kernel end a connection whose peer takes or acknowledges nothing of what
// waits for it for so long. A deadline would lose what is on its way through the kernel.
func limitStuck(c net.Conn, limit time.Duration) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// A kernel without it has its own limit.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	})
}

// splice moves bytes both ways until both sides have sent their end, or one of
// them failed, or the server has nothing to say to a browser that has ended:
// each page could leave tunnels behind if servers decided how long they stay.
// The other way round nothing is limited, since what the browser holds open
// counts against its own limits, and it may be slow to read a server's last
// words.
func splice(down net.Conn, early *bufio.Reader, up net.Conn, linger time.Duration) {
	var both sync.WaitGroup
	both.Go(func() {
		err := drain(up, early)
		if err == nil {
			_, err = io.Copy(up, down)
		}
		finish(up, down, err)
		_ = up.SetReadDeadline(time.Now().Add(linger))
	})
	both.Go(func() {
		finish(down, up, copyRenewed(down, up, linger))
	})
	both.Wait()
	_ = up.Close()
	_ = down.Close()
}

// copyRenewed copies until the end of from, or until a read deadline of it is
// over and nothing came since the one before. A deadline interrupts a copy
// between two reads, so nothing is lost, and the kernel still does the copying.
func copyRenewed(to io.Writer, from net.Conn, linger time.Duration) error {
	for {
		n, err := io.Copy(to, from)
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := from.SetReadDeadline(time.Now().Add(linger)); err != nil {
			return err
		}
	}
}

// drain writes what was read beyond the head.
func drain(to io.Writer, early *bufio.Reader) error {
	n := early.Buffered()
	if n == 0 {
		return nil
	}
	b, err := early.Peek(n)
	if err == nil {
		_, err = to.Write(b)
	}
	return err
}

// finish passes the end of one direction on. After an error there is nothing
// left to pass in either.
func finish(to, from net.Conn, err error) {
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	_ = to.Close()
	_ = from.Close()
}
