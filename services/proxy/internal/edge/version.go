package edge

import "strings"

// versionOf is Playwright's major.minor as its clients send it in their User-Agent, or
// empty.
func versionOf(agent string) string {
	text, ok := strings.CutPrefix(agent, "Playwright/")
	major := digits(text)
	if !ok || major == 0 || major == len(text) || text[major] != '.' {
		return ""
	}
	minor := digits(text[major+1:])
	if minor == 0 {
		return ""
	}
	return text[:major+1+minor]
}

// digits is how many digits a text begins with.
func digits(text string) int {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return i
		}
	}
	return len(text)
}
