package edge

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// maxDiscard bounds what is read of a request after it was answered.
const maxDiscard = 1 << 20

func codeOf(err error) refusal.Code {
	if errors.Is(err, errTooLong) {
		return refusal.RequestTooLong
	}
	return refusal.BadRequest
}

// reject answers a connection whose request will not be handled. Nothing of the request
// is in the answer: what cannot be read may hold a token anywhere. The kernel takes it
// at once, or not at all.
//
// The connection stays until the client has closed it, or its request would have had to
// be complete: to close it with bytes unread would reset it, and the answer might never
// be read.
func (d *door) reject(code refusal.Code) {
	if d.rejected {
		return
	}
	d.rejected, d.seen, d.rest = true, nil, nil
	d.edge.o.Refused(code)
	_, _ = nowait.Send(d.conn.Hash(), refusal.New(code, "").AppendHTTP(nil), false)
	_ = nowait.Shutdown(d.conn.Hash(), unix.SHUT_WR)
}

// discard counts what came after the answer.
func (d *door) discard(n int) error {
	if d.size += n; d.size > maxDiscard {
		return errTooLong
	}
	return nil
}
