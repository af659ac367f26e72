package probe

import "context"

// Busy opens a page that computes for ever, for tests of what such a page does
// to others. It is over when the returned function is called.
func Busy(ctx context.Context, t Target) (stop func(), err error) {
	c, err := dial(ctx, t)
	if err != nil {
		return nil, err
	}
	err = c.greet(ctx)
	if err == nil {
		err = c.open(ctx, "Browser", "newContext", "BrowserContext")
	}
	if err == nil {
		err = c.open(ctx, "BrowserContext", "newPage", "Page")
	}
	if err == nil {
		err = c.do(ctx, "Frame", "evaluateExpression", `{"expression":"() => { setTimeout(() => { for (;;); }) }","isFunction":true,"arg":{"value":{"v":"undefined"},"handles":[]}}`)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c.close, nil
}
