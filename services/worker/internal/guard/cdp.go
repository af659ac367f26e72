package guard

import "strings"

// What guard.cdp can be.
const (
	CDPRefuse = "refuse"
	CDPFilter = "filter"
)

// cdp are the methods of the DevTools protocol that concern the page of the
// session and nothing else: they neither name targets, files, URLs or other
// sessions nor change the browser.
var cdp = func() map[string]bool {
	m := map[string]bool{}
	for domain, methods := range map[string]string{
		"Accessibility": "disable enable getAXNodeAndAncestors getChildAXNodes getFullAXTree getPartialAXTree getRootAXNode queryAXTree",
		"Animation":     "disable enable getPlaybackRate setPlaybackRate",
		"CSS":           "disable enable forcePseudoState getBackgroundColors getComputedStyleForNode getInlineStylesForNode getMatchedStylesForNode getMediaQueries getPlatformFontsForNode startRuleUsageTracking stopRuleUsageTracking takeCoverageDelta",
		"DOM":           "describeNode disable enable focus getAttributes getBoxModel getContentQuads getDocument getFlattenedDocument getNodeForLocation getOuterHTML pushNodesByBackendIdsToFrontend querySelector querySelectorAll requestChildNodes requestNode resolveNode scrollIntoViewIfNeeded",
		"DOMDebugger":   "getEventListeners",
		"DOMSnapshot":   "captureSnapshot disable enable",
		"Emulation":     "clearDeviceMetricsOverride clearGeolocationOverride clearIdleOverride resetPageScaleFactor setAutoDarkModeOverride setCPUThrottlingRate setDefaultBackgroundColorOverride setDeviceMetricsOverride setEmitTouchEventsForMouse setEmulatedMedia setEmulatedVisionDeficiency setFocusEmulationEnabled setGeolocationOverride setIdleOverride setLocaleOverride setPageScaleFactor setScriptExecutionDisabled setScrollbarsHidden setTimezoneOverride setTouchEmulationEnabled setUserAgentOverride",
		"HeapProfiler":  "collectGarbage",
		"Input":         "cancelDragging dispatchKeyEvent dispatchMouseEvent dispatchTouchEvent imeSetComposition insertText synthesizePinchGesture synthesizeScrollGesture synthesizeTapGesture",
		"LayerTree":     "disable enable",
		"Log":           "clear disable enable startViolationsReport stopViolationsReport",
		"Network":       "disable emulateNetworkConditions enable getRequestPostData getResponseBody setBlockedURLs setBypassServiceWorker setCacheDisabled setExtraHTTPHeaders setUserAgentOverride",
		"Overlay":       "disable enable",
		"Page":          "bringToFront captureScreenshot captureSnapshot disable enable getFrameTree getLayoutMetrics resetNavigationHistory screencastFrameAck setBypassCSP setLifecycleEventsEnabled startScreencast stopLoading stopScreencast",
		"Performance":   "disable enable getMetrics",
		"Profiler":      "disable enable getBestEffortCoverage setSamplingInterval start startPreciseCoverage stop stopPreciseCoverage takePreciseCoverage",
		"Runtime":       "awaitPromise callFunctionOn disable enable evaluate getProperties globalLexicalScopeNames releaseObject releaseObjectGroup runIfWaitingForDebugger",
	} {
		for method := range strings.FieldsSeq(methods) {
			m[domain+"."+method] = true
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
