package relay

import (
	"sync"
	"time"
)

type clientState int

const (
	waiting  clientState = iota
	taken                // by its session
	answered             // refused; it reads why
	gone
)

// Client is a client's connection between its request and its worker.
type Client struct {
	leg
	early []byte

	waits   sync.Mutex // holds the descriptor while it is not a session's
	state   clientState
	onLeave func()
	linger  *time.Timer
}

// OnLeave sets what is called, once, when the client leaves before it has a
// worker; at once if it has left already. It must not block.
func (c *Client) OnLeave(f func()) {
	c.waits.Lock()
	defer c.waits.Unlock()
	switch c.state {
	case waiting:
		c.onLeave = f
	case gone:
		f()
	case taken, answered:
	}
}

// left runs when the client has closed.
func (c *Client) left() { c.drop() }

// drop closes a connection that nobody waits for any more.
func (c *Client) drop() {
	c.waits.Lock()
	defer c.waits.Unlock()
	if c.state == waiting || c.state == answered {
		c.close()
	}
}

func (c *Client) close() {
	if c.state == waiting {
		if c.onLeave != nil {
			c.onLeave()
		}
	}
	c.state, c.onLeave = gone, nil
	c.relay.forget(c)
	c.leg.close()
	if c.linger != nil {
		c.linger.Stop()
	}
}

// Refuse answers the request and closes the connection once the client has
// taken the answer, or after the linger time. The answer must be small enough
// for the kernel to take whole.
func (c *Client) Refuse(response []byte) {
	c.waits.Lock()
	defer c.waits.Unlock()
	if c.state != waiting {
		return
	}
	if n, _ := c.leg.write(response, false); n < len(response) {
		c.close()
		return
	}
	c.leg.shutdownWrite()
	c.state, c.onLeave = answered, nil
	c.linger = time.AfterFunc(c.relay.options.Linger, c.drop)
}

// take makes the connection its session's; false when the client has left.
func (c *Client) take(s *Session) bool {
	c.waits.Lock()
	defer c.waits.Unlock()
	if c.state != waiting {
		return false
	}
	c.state, c.onLeave, c.early = taken, nil, nil
	c.relay.forget(c)
	c.leg.session.Store(s)
	return true
}
