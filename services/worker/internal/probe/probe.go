// Package probe finds out whether a browser still does its work. It is a client
// of the Playwright server like any other, but comes over the server's own
// socket: no slot, no session, no event.
package probe

import (
	"context"
	"encoding/json"
	"fmt"
)

// Hello opens a session as a client would, which proves that the server
// serves, and asks for the version of the browser. It reads it from the
// protocol because that is right for every browser and channel, where asking
// the executable means to find it first and to start it once more.
func Hello(ctx context.Context, t Target) (version string, err error) {
	c, err := dial(ctx, t)
	if err != nil {
		return "", err
	}
	defer c.close()
	if err := c.greet(ctx); err != nil {
		return "", err
	}
	var browser struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(c.made["Browser"].initializer, &browser); err != nil {
		return "", fmt.Errorf("read what the Playwright server says of its browser: %w", err)
	}
	return browser.Version, nil
}

// Failure is a probe that did not come through.
type Failure struct {
	Step string // that was not done
	Err  error
}

func (f *Failure) Error() string { return f.Step + ": " + f.Err.Error() }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// nextFrame asks for a moment at which the page is drawn, which comes from the
// process that composes pages (Chromium's GPU process) and from no other.
const nextFrame = `{"expression":"() => new Promise(drawn => requestAnimationFrame(() => drawn()))","isFunction":true,` +
	`"arg":{"value":{"v":"undefined"},"handles":[]}}`

// Page has the browser open a page in a context of its own, draw it, read the
// cookies of that context, and close it. That takes every process that a
// session cannot do without: the server, the browser, a fresh renderer, the
// process that draws, and the one that has the network, which keeps the
// cookies. Pages of sessions, whatever they do, are not on the way. Nothing is
// loaded, so no network is needed.
//
// An error is a *Failure.
func Page(ctx context.Context, t Target) error {
	c, err := dial(ctx, t)
	if err != nil {
		return &Failure{"connect to the Playwright server", err}
	}
	defer c.close() // with which the server gives up whatever is open
	steps := []struct {
		name string
		do   func() error
	}{
		{"greet the Playwright server", func() error { return c.greet(ctx) }},
		{"open a context", func() error { return c.open(ctx, "Browser", "newContext", "BrowserContext") }},
		{"open a page", func() error { return c.open(ctx, "BrowserContext", "newPage", "Page") }},
		{"draw the page", func() error { return c.do(ctx, "Frame", "evaluateExpression", nextFrame) }},
		{"read the cookies", func() error { return c.do(ctx, "BrowserContext", "cookies", `{"urls":[]}`) }},
		{"close the context", func() error { return c.do(ctx, "BrowserContext", "close", `{}`) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return &Failure{s.name, err}
		}
	}
	return nil
}

// open calls a method that makes an object, which must have been announced
// before the answer.
func (c *conn) open(ctx context.Context, of, method, made string) error {
	delete(c.made, made)
	if err := c.do(ctx, of, method, `{}`); err != nil {
		return err
	}
	if c.made[made].guid == "" {
		return fmt.Errorf("the Playwright server made no %s", made)
	}
	return nil
}

func (c *conn) do(ctx context.Context, of, method, params string) error {
	return c.call(ctx, c.made[of].guid, method, params)
}
