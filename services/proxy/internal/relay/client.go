package relay

import (
	"sync"
	"time"
)

// Client is a client's connection between its request and its worker.
type Client struct {
	relay *Relay
	leg   *leg
	once  sync.Once
	done  chan struct{}
}

// Done is closed when the client has left before it got a worker.
func (c *Client) Done() <-chan struct{} { return c.done }

func (c *Client) leave() { c.once.Do(func() { close(c.done) }) }

// Refuse answers the request and closes the connection once the client has
// taken the answer, or after the linger time.
func (c *Client) Refuse(response []byte) {
	_ = c.leg.write(response)
	c.leg.shutdownWrite()
	go func() {
		t := time.NewTimer(c.relay.options.Linger)
		defer t.Stop()
		select {
		case <-c.done:
		case <-t.C:
		}
		c.leg.close()
	}()
}
