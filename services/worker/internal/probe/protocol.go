package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// maxMessage bounds one message; a server describes its devices in the
// greeting.
const maxMessage = 4 << 20

// Target is where a Playwright server listens.
type Target struct {
	Socket string // path of the Unix socket
	Path   string // of the WebSocket
}

// conn speaks as much of Playwright's protocol as is needed here: one call at
// a time, as a client of any language makes it.
type conn struct {
	ws   *websocket.Conn
	last int
	made map[string]object // by type: the object that was announced last
}

// object is a remote object.
type object struct {
	guid        string
	initializer json.RawMessage
}

func dial(ctx context.Context, t Target) (*conn, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", t.Socket)
		},
	}
	defer transport.CloseIdleConnections()
	ws, response, err := websocket.Dial(ctx, "ws://playwright"+t.Path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("the Playwright server does not serve: %w", err)
	}
	ws.SetReadLimit(maxMessage)
	return &conn{ws: ws, made: map[string]object{}}, nil
}

func (c *conn) close() { _ = c.ws.CloseNow() }

// message is what a server sends, so far as it matters here.
type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Error  json.RawMessage `json:"error"`
	Params struct {
		Type        string          `json:"type"`
		GUID        string          `json:"guid"`
		Initializer json.RawMessage `json:"initializer"`
	} `json:"params"`
}

// errRefused is an error that the server answered.
var errRefused = errors.New("the Playwright server answered with an error")

// call makes a call and waits for its answer.
func (c *conn) call(ctx context.Context, guid, method, params string) error {
	c.last++
	text := fmt.Sprintf(`{"id":%d,"guid":%q,"method":%q,"params":%s,"metadata":{}}`, c.last, guid, method, params)
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	for {
		_, text, err := c.ws.Read(ctx)
		if err != nil {
			return err
		}
		var m message
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("read the server's message: %w", err)
		}
		switch {
		case m.ID == c.last && len(m.Error) > 0:
			return fmt.Errorf("%w: %s", errRefused, shorten(m.Error))
		case m.ID == c.last:
			return nil
		case m.Method == "__create__":
			c.made[m.Params.Type] = object{guid: m.Params.GUID, initializer: m.Params.Initializer}
		}
	}
}

func shorten(b []byte) string {
	const limit = 300
	if len(b) > limit {
		return string(b[:limit]) + "…"
	}
	return string(b)
}

// greet begins a session, as every client does.
func (c *conn) greet(ctx context.Context) error {
	err := c.call(ctx, "", "initialize", `{"sdkLanguage":"javascript"}`)
	if err != nil {
		return fmt.Errorf("greet the Playwright server: %w", err)
	}
	return nil
}
