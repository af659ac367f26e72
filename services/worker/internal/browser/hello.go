package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// maxHello bounds one message of the greeting; a server describes its devices
// in it.
const maxHello = 4 << 20

// hello opens a session as a client would, which proves that the server
// serves, and asks for the version of the browser. It reads it from the
// protocol because that is right for every browser and channel, where asking
// the executable means to find it first and to start it once more.
func hello(ctx context.Context, e Endpoint) (version string, err error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", e.Socket)
		},
	}
	defer transport.CloseIdleConnections()
	conn, response, err := websocket.Dial(ctx, "ws://playwright"+e.Path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return "", fmt.Errorf("the Playwright server does not serve: %w", err)
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxHello)
	const initialize = `{"id":1,"guid":"","method":"initialize","params":{"sdkLanguage":"javascript"},"metadata":{}}`
	if err := conn.Write(ctx, websocket.MessageText, []byte(initialize)); err != nil {
		return "", fmt.Errorf("greet the Playwright server: %w", err)
	}
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return "", fmt.Errorf("greet the Playwright server: %w", err)
		}
		var m struct {
			ID     int `json:"id"`
			Params struct {
				Type        string `json:"type"`
				Initializer struct {
					Version string `json:"version"`
				} `json:"initializer"`
			} `json:"params"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return "", fmt.Errorf("greet the Playwright server: %w", err)
		}
		switch {
		case m.Params.Type == "Browser":
			version = m.Params.Initializer.Version
		case m.ID == 1 && len(m.Error) > 0:
			return "", fmt.Errorf("the Playwright server refuses to start a session: %s", shorten(string(m.Error)))
		case m.ID == 1:
			return version, nil
		}
	}
}
