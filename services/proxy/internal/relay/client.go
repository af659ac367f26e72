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
	relay *Relay
	leg   *leg
	early []byte
	done  chan struct{}

	mu     sync.Mutex // holds the descriptor while it is not a session's
	state  clientState
	linger *time.Timer
}

// Done is closed when the client has left before it got a worker.
func (c *Client) Done() <-chan struct{} { return c.done }

// Ready and CloseAndClean are what a client's Watched passes on.
func (c *Client) Ready() { c.leg.Ready() }

// CloseAndClean tells that the loop does not watch the connection any more.
func (c *Client) CloseAndClean(err error) { c.leg.CloseAndClean(err) }

// left runs when the client has closed.
func (c *Client) left() { c.drop() }

// drop closes a connection that nobody waits for any more.
func (c *Client) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == waiting || c.state == answered {
		c.close()
	}
}

func (c *Client) close() {
	if c.state == waiting {
		close(c.done)
	}
	c.state = gone
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != waiting {
		return
	}
	if n, _ := c.leg.write(response); n < len(response) {
		c.close()
		return
	}
	c.leg.shutdownWrite()
	c.state = answered
	c.linger = time.AfterFunc(c.relay.options.Linger, c.drop)
}

// take makes the connection its session's; false when the client has left.
func (c *Client) take(s *Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != waiting {
		return false
	}
	c.state = taken
	c.relay.forget(c)
	c.leg.session.Store(s)
	return true
}
