package guard

import (
	_ "embed"
	"strings"
)

// What guard.cdp can be.
const (
	CDPRefuse = "refuse"
	CDPFilter = "filter"
)

//go:embed cdp.txt
var cdpMethods string

// cdp are the methods of the DevTools protocol that concern the page of the
// session and nothing else: they neither name targets, files, URLs or other
// sessions nor change the browser.
var cdp = func() map[string]bool {
	m := map[string]bool{}
	for line := range strings.Lines(cdpMethods) {
		if name, _, ok := strings.Cut(line, " "); ok && name != "#" {
			m[name] = true
		}
	}
	return m
}()

func badCDP(method []byte) string {
	if cdp[string(method)] {
		return ""
	}
	return "This CDP method can reach beyond the page. Use what Playwright itself offers for it, such as page.goto(), context.cookies(), page.route() or context.tracing."
}
