package edge

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// listener is a TCP listener that can stop accepting while its engine runs,
// and that waits where nbio would spin: after an error that will not go away
// at once, such as being out of descriptors.
type listener struct {
	net.Listener
	log *zap.Logger

	stopped  chan struct{}
	stop     func() // closes the socket
	released chan struct{}
	release  func()
	warned   time.Time // Accept's
}

const (
	// errorPause is how long accepting rests after an error.
	errorPause = 50 * time.Millisecond
	// warnPause is how often such errors are logged.
	warnPause = 10 * time.Second
)

func listen(network, addr string, log *zap.Logger) (*listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 20 * time.Second, Count: 2}}
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	return newListener(ln, log), nil
}

func newListener(ln net.Listener, log *zap.Logger) *listener {
	l := &listener{Listener: ln, log: log, stopped: make(chan struct{}), released: make(chan struct{})}
	l.stop = sync.OnceFunc(func() {
		close(l.stopped)
		_ = ln.Close()
	})
	l.release = sync.OnceFunc(func() { close(l.released) })
	return l
}

// Accept is part of net.Listener. Once accepting has stopped it waits for
// Close, because its caller tries again after every error.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return relay.Hide(c), nil
		}
		select {
		case <-l.stopped:
			<-l.released
			return nil, net.ErrClosed
		default:
		}
		l.warn(err)
		select {
		case <-l.stopped:
		case <-time.After(errorPause):
		}
	}
}

func (l *listener) warn(err error) {
	if now := time.Now(); now.Sub(l.warned) >= warnPause {
		l.warned = now
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.log.Error("out of file descriptors: new clients wait; raise the limit (ulimit -n) or add a proxy")
		} else {
			l.log.Warn("accept failed", zap.Error(err))
		}
	}
}

// Close is part of net.Listener; the engine calls it when it stops.
func (l *listener) Close() error {
	l.stop()
	l.release()
	return nil
}
