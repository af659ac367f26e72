package relay

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// The payload of a long frame goes from one socket to the other inside the
// kernel (splice(2)), by way of a pipe: nobody looks at it, so it need not be
// copied out and in again.
const (
	// longFrame is how many bytes of a frame must be to come for that. Less is
	// copied: it fits the processor's cache, and a page in a pipe has a price.
	longFrame = 128 << 10
	// pipeSize is what a pipe holds at most, 64 pages. It takes the place of the
	// buffer, which a direction has no use for meanwhile.
	pipeSize = bufferSize
	// headRoom is how much is read behind a long frame.
	headRoom = 4 << 10

	spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
)

// pipe holds bytes that were taken from one socket and not given to the other
// yet.
type pipe struct {
	out, in int // descriptors: to read from, to write to
	held    int
}

// from takes what there is of the next most bytes that a connection has sent.
func (p *pipe) from(l *leg, most uint64) (int, error) {
	n, err := splice(l.fd, p.in, int(min(most, pipeSize)))
	p.held += n
	return n, err
}

// to gives a connection what it takes of what the pipe holds.
func (p *pipe) to(l *leg) outcome {
	n, err := splice(p.out, l.fd, p.held)
	p.held -= n
	return classify(n, err)
}

func (p *pipe) close() {
	closeFD(p.out)
	closeFD(p.in)
}

// splice enters the kernel as receive and send do. Neither descriptor may block.
func splice(from, to, most int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), spliceFlags)
		switch {
		case errno == 0:
			return int(n), nil
		case errors.Is(errno, unix.EINTR):
		default:
			return 0, errno
		}
	}
}

// pipePool lends pipes. There are few of them, because each takes two
// descriptors; who gets none copies.
type pipePool struct {
	mu    sync.Mutex
	most  int
	count int // lent or free
	free  []*pipe
}

// get returns nil when there is none to be had.
func (l *pipePool) get() *pipe {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		p := l.free[n-1]
		l.free = l.free[:n-1]
		return p
	}
	if l.count >= l.most {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	p := &pipe{out: fds[0], in: fds[1]}
	// A smaller one, where the system's limit for all pipes is reached, does as well.
	_, _ = unix.FcntlInt(uintptr(p.in), unix.F_SETPIPE_SZ, pipeSize)
	l.count++
	return p
}

// put takes back a pipe that is empty.
func (l *pipePool) put(p *pipe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, p)
}

// drop is put for a pipe that is not empty.
func (l *pipePool) drop(p *pipe) {
	p.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
}

// trim closes those that nobody has.
func (l *pipePool) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.free {
		p.close()
	}
	l.count -= len(l.free)
	l.free = nil
}

// piped tells whether the pipe holds bytes.
func (d *dir) piped() bool { return d.pipe != nil && d.pipe.held > 0 }

// pipes tells whether what comes next goes through a pipe, which d has then.
func (d *dir) pipes() bool {
	ahead := d.frames.Ahead()
	if d.pipe != nil {
		return ahead > 0
	}
	if ahead < longFrame || d.unpiped || d.discard {
		return false
	}
	d.unpace()
	d.pipe = d.session.relay.pipes.get()
	return d.pipe != nil
}

// pipeIn fills the pipe. It returns true when src has no more for now.
func (d *dir) pipeIn() (drained bool) {
	n, err := d.pipe.from(d.src, d.frames.Ahead())
	switch {
	case n > 0:
		if !d.heard.Load() {
			d.heard.Store(true)
		}
		d.bytes.Add(uint64(n))
		d.frames.Skip(uint64(n))
		d.countMessages()
		d.long = true
	case errors.Is(err, unix.EAGAIN):
		return true
	case errors.Is(err, unix.EINVAL):
		// Not between these two. Whether that is an end, reading tells.
		d.unpiped = true
		d.dropPipe()
	default: // orderly end, or reset
		d.end()
	}
	return false
}

// dropPipe forgets what the pipe holds.
func (d *dir) dropPipe() {
	if d.pipe != nil {
		d.session.relay.pipes.drop(d.pipe)
		d.pipe = nil
	}
}
