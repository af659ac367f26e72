package guard

import "fmt"

// Chromium ends when it is sent more than 100 MiB in one message, and with it
// all sessions. What a client sends becomes a part of such a message, of some
// calls more than once.
const (
	// maxMessage leaves room for what the server puts around it.
	maxMessage = 96 << 20
	// maxText is for text that the server sends on as base64.
	maxText = 72 << 20
	// maxTwice is for what the server writes into a script, its quotes escaped once more.
	maxTwice = 45 << 20
	// maxOther is for calls that carry no content.
	maxOther = 24 << 20
	// maxEngine is for one selector engine, and maxEngines for those of a session,
	// which the server joins to one script for each context.
	maxEngine  = 1 << 20
	maxEngines = 64 << 20
)

// content is what the calls that carry content may have.
var content = map[string]uint64{
	"APIRequestContext.fetch":                maxMessage,
	"BindingCall.resolve":                    maxMessage,
	"Browser.newContext":                     maxTwice,
	"BrowserContext.addInitScript":           maxMessage,
	"BrowserContext.registerSelectorEngine":  maxEngine,
	"BrowserContext.setStorageState":         maxTwice,
	"CDPSession.send":                        maxMessage,
	"Dialog.accept":                          maxMessage,
	"ElementHandle.evalOnSelector":           maxMessage,
	"ElementHandle.evalOnSelectorAll":        maxMessage,
	"ElementHandle.evaluateExpression":       maxMessage,
	"ElementHandle.evaluateExpressionHandle": maxMessage,
	"ElementHandle.fill":                     maxMessage,
	"ElementHandle.setInputFiles":            maxMessage,
	"ElementHandle.type":                     maxMessage,
	"Frame.addScriptTag":                     maxMessage,
	"Frame.addStyleTag":                      maxMessage,
	"Frame.dispatchEvent":                    maxMessage,
	"Frame.drop":                             maxMessage,
	"Frame.evalOnSelector":                   maxMessage,
	"Frame.evalOnSelectorAll":                maxMessage,
	"Frame.evaluateExpression":               maxMessage,
	"Frame.evaluateExpressionHandle":         maxMessage,
	"Frame.expect":                           maxMessage,
	"Frame.fill":                             maxMessage,
	"Frame.goto":                             maxMessage,
	"Frame.setContent":                       maxMessage,
	"Frame.setInputFiles":                    maxMessage,
	"Frame.type":                             maxMessage,
	"Frame.waitForFunction":                  maxMessage,
	"JSHandle.evaluateExpression":            maxMessage,
	"JSHandle.evaluateExpressionHandle":      maxMessage,
	"Page.addInitScript":                     maxMessage,
	"Page.expectScreenshot":                  maxMessage,
	"Page.keyboardInsertText":                maxMessage,
	"Page.keyboardType":                      maxMessage,
	"Page.webStorageSetItem":                 maxTwice,
	"Route.continue":                         maxMessage,
	"Route.fulfill":                          maxText,
	"WebSocketRoute.sendToPage":              maxMessage,
	"WebSocketRoute.sendToServer":            maxMessage,
	"Worker.evaluateExpression":              maxMessage,
	"Worker.evaluateExpressionHandle":        maxMessage,
	"WritableStream.write":                   maxMessage,
}

// most is how many bytes a call of a method may have.
func most(method string) uint64 {
	if n, ok := content[method]; ok {
		return n
	}
	return maxOther
}

// weigh refuses a call that is too large, once it is known what it calls.
func (m *message) weigh() {
	if m.decided && m.rule != nil && m.length > m.rule.most {
		m.refuse(tooLarge(m.length, m.rule.most))
	}
}

// count adds a selector engine to those of the session.
func (m *message) count() {
	if m.rule == nil || m.rule.most != maxEngine || m.refused != "" {
		return
	}
	if m.engines+m.length > maxEngines {
		m.refuse(tooLarge(m.engines+m.length, maxEngines))
		return
	}
	m.engines += m.length
}

func tooLarge(n, most uint64) string {
	return fmt.Sprintf("%d bytes are more than the %d that a shared browser takes of such calls. Send less at once, or serve it over http.", n, most)
}
