package app

import "context"

// chore is work that is done beside everything else, each time that it is due,
// and never twice at a time.
type chore struct {
	work func()
	due  chan struct{}
	quit chan struct{}
	done chan struct{}
}

func newChore(work func()) *chore {
	return &chore{work: work, due: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
}

// call has the work done, soon. It does not block.
func (c *chore) call() {
	select {
	case c.due <- struct{}{}:
	default:
	}
}

func (c *chore) start(context.Context) error {
	go func() {
		defer close(c.done)
		for {
			select {
			case <-c.quit:
				return
			case <-c.due:
				c.work()
			}
		}
	}()
	return nil
}

func (c *chore) stop(context.Context) error {
	close(c.quit)
	<-c.done
	return nil
}
