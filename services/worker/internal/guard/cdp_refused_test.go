package guard

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a page's CDP session may not call, by domain; * is all of one. It is the
// rest of what the pinned Playwright defines: whoever allows a method takes it out
// here as well, and whoever takes a new Playwright judges what is new.
const refusedCDP = `
Ads *
Animation getCurrentTime releaseAnimations resolveAnimation seekAnimations setPaused setTiming
Audits *
Autofill *
BackgroundService *
BluetoothEmulation *
Browser *
CSS addRule collectClassNames createStyleSheet forcePositionTryOption forceStartingStyle getAnimatedStylesForNode getEnvironmentVariables
CSS getLayersForNode getLocationForSelector getLonghandProperties resolveValues setContainerQueryConditionText setContainerQueryText
CSS setEffectivePropertyValueForNode setKeyframeKey setLocalFontsEnabled setMediaText setNavigationText setPropertyRulePropertyName
CSS setRuleSelector setScopeText setStyleSheetText setStyleTexts setSupportsText takeComputedStyleUpdates trackComputedStyleUpdates
CSS trackComputedStyleUpdatesForNode
CacheStorage *
Cast *
Console *
CrashReportContext *
DOM clearTextMarkers collectClassNamesFromSubtree copyTo discardSearchResults forceShowInterest forceShowPopover getAnchorElement
DOM getContainerForNode getDetachedDomNodes getElementByRelation getFileInfo getFrameOwner getImplicitAnchorCandidates getNodeStackTraces
DOM getNodesForSubtreeByStyle getQueryingDescendantsForContainer getRelayoutBoundary getSearchResults getTopLayerElements hideHighlight
DOM highlightNode highlightRect markUndoableState moveTo performSearch pushNodeByPathToFrontend redo removeAttribute removeNode
DOM setAttributeValue setAttributesAsText setFileInputFiles setInspectedNode setNodeName setNodeStackTracesEnabled setNodeValue setOuterHTML
DOM setTextMarker undo
DOMDebugger removeDOMBreakpoint removeEventListenerBreakpoint removeInstrumentationBreakpoint removeXHRBreakpoint setBreakOnCSPViolation
DOMDebugger setDOMBreakpoint setEventListenerBreakpoint setInstrumentationBreakpoint setXHRBreakpoint
DOMSnapshot getSnapshot
DOMStorage *
Debugger continueToLocation disassembleWasmModule evaluateOnCallFrame getPossibleBreakpoints getStackTrace getWasmBytecode nextWasmDisassemblyChunk
Debugger pause pauseOnAsyncCall removeBreakpoint restartFrame resume searchInContent setAsyncCallStackDepth setBlackboxExecutionContexts
Debugger setBlackboxPatterns setBlackboxedRanges setBreakpoint setBreakpointByUrl setBreakpointOnFunctionCall setBreakpointsActive
Debugger setInstrumentationBreakpoint setPauseOnExceptions setReturnValue setScriptSource setSkipAllPauses setVariableValue stepInto stepOut stepOver
DeviceAccess *
DeviceOrientation *
DigitalCredentials *
Emulation addScreen canEmulate clearDevicePostureOverride clearDisplayFeaturesOverride getOverriddenSensorInformation getScreenInfos removeScreen
Emulation setAutomationOverride setCPUPerformanceOverride setDataSaverOverride setDevicePostureOverride setDisabledImageTypes
Emulation setDisplayFeaturesOverride setDocumentCookieDisabled setEmulatedOSTextScale setHardwareConcurrencyOverride setNavigatorOverrides
Emulation setPressureSourceOverrideEnabled setPressureStateOverride setPrimaryScreen setSafeAreaInsetsOverride setSensorOverrideEnabled
Emulation setSensorOverrideReadings setSmallViewportHeightDifferenceOverride setVirtualKeyboardGeometryOverride setVirtualTimePolicy setVisibleSize
Emulation updateScreen
EventBreakpoints *
Extensions *
FedCm *
Fetch *
FileSystem *
FindInPage *
HeadlessExperimental *
HeapProfiler addInspectedHeapObject getHeapObjectId getObjectByHeapObjectId
IO *
IndexedDB *
Input dispatchDragEvent emulateTouchFromMouseEvent setIgnoreInputEvents setInterceptDrags
Inspector *
LayerTree compositingReasons loadSnapshot makeSnapshot profileSnapshot releaseSnapshot replaySnapshot snapshotCommandLog
Media *
Memory forciblyPurgeJavaScriptMemory getAllTimeSamplingProfile getBrowserSamplingProfile getDOMCountersForLeakDetection getSamplingProfile
Memory prepareForLeakDetection setPressureNotificationsSuppressed simulatePressureNotification startSampling stopSampling
Network canClearBrowserCache canClearBrowserCookies canEmulateNetworkConditions clearBrowserCookies configureDurableMessages deleteCookies
Network deleteDeviceBoundSession emulateNetworkConditionsByRule enableDeviceBoundSessions enableReportingApi fetchSchemefulSite getAllCookies
Network getCertificate getCookies getSecurityIsolationStatus loadNetworkResource overrideNetworkState replayXHR searchInResponseBody
Network setAttachDebugStack setCookie setCookieControls setCookies streamResourceContent
Overlay getGridHighlightObjectsForTest getHighlightObjectForTest getSourceOrderHighlightObjectForTest hideHighlight highlightFrame highlightNode
Overlay highlightQuad highlightRect highlightSourceOrder setInspectMode setPausedInDebuggerMessage setShowAdHighlights setShowContainerQueryOverlays
Overlay setShowDebugBorders setShowDisplayCutout setShowFPSCounter setShowFlexOverlays setShowGridOverlays setShowHinge setShowHitTestBorders
Overlay setShowInspectedElementAnchor setShowIsolatedElements setShowLayoutShiftRegions setShowPaintRects setShowScrollBottleneckRects
Overlay setShowScrollSnapOverlays setShowViewportSizeOnResize setShowWebVitals setShowWindowControlsOverlay
PWA *
Page addCompilationCache addScriptToEvaluateOnLoad clearCompilationCache clearDeviceMetricsOverride clearDeviceOrientationOverride
Page clearGeolocationOverride close crash deleteCookie generateTestReport getAdScriptAncestry getAnnotatedPageContent getAppId getAppManifest
Page getInstallabilityErrors getManifestIcons getOriginTrials getPermissionsPolicyState getResourceContent getResourceTree getSiblingSubApps
Page getSpellCheckCustomDictionary getSubApps handleJavaScriptDialog navigate navigateToHistoryEntry printToPDF produceCompilationCache
Page removeScriptToEvaluateOnLoad searchInResource setAdBlockingEnabled setDeviceMetricsOverride setDeviceOrientationOverride setDocumentContent
Page setDownloadBehavior setFontFamilies setFontSizes setGeolocationOverride setInputVisualization setInterceptFileChooserDialog
Page setPrerenderingAllowed setRPHRegistrationMode setSPCTransactionMode setTouchEmulationEnabled startScreenRecording stopScreenRecording
Page waitForDebugger
Performance setTimeDomain
PerformanceTimeline *
Preload *
Runtime compileScript getExceptionDetails getIsolateId runScript setAsyncCallStackDepth setCustomObjectFormatterEnabled setMaxCallStackSizeToCapture
Runtime terminateExecution
Schema *
Security *
ServiceWorker *
SmartCardEmulation *
Storage *
SystemInfo *
Target *
Tethering *
Tracing *
WebAudio *
WebMCP *
`

// refusesCDP tells whether the list has a method.
func refusesCDP(method string) bool {
	domain, name, _ := strings.Cut(method, ".")
	for line := range strings.Lines(refusedCDP) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == domain && (f[1] == "*" || slices.Contains(f[1:], name)) {
			return true
		}
	}
	return false
}

// sendsCDP tells whether a session may call a method.
func sendsCDP(t *testing.T, rules *Rules, method string) bool {
	t.Helper()
	w := &wire{}
	require.NoError(t, rules.Guard(w).Feed(frame(opText, call(1, "cdp-session@1", "send", `{"method":"`+method+`","params":{}}`))))
	require.Equal(t, len(w.refused) == 0, len(w.forwarded) > 0)
	return len(w.refused) == 0
}

// Every method that Playwright defines is either allowed or named as refused, and
// the guard does so.
func TestCDPMethodsAreAllowedOrNamed(t *testing.T) {
	source := pinned(t, "types/protocol.d.ts")
	var defined []string
	for name := range cdpDefinitions(source) {
		if method, ok := strings.CutSuffix(name, "Parameters"); ok {
			defined = append(defined, method)
		}
	}
	require.Greater(t, len(defined), 600)
	rules := New(filter)
	for _, method := range defined {
		require.NotEqual(t, refusesCDP(method), cdp[method], "%s: allow it in cdp.txt or name it here, and not both", method)
		require.Equal(t, cdp[method], sendsCDP(t, rules, method), method)
	}
	for line := range strings.Lines(refusedCDP) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		for _, name := range f[1:] {
			require.True(t, slices.ContainsFunc(defined, func(method string) bool {
				return strings.HasPrefix(method, f[0]+".") && (name == "*" || method == f[0]+"."+name)
			}), "there is no %s.%s any more", f[0], name)
		}
	}
}

// The same without Playwright's definitions, for what is named one by one, and for
// what no list has.
func TestCDPMethodsThatAreNamedAreRefused(t *testing.T) {
	rules, named := New(filter), 0
	for line := range strings.Lines(refusedCDP) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[1] == "*" {
			for method := range cdp {
				require.False(t, strings.HasPrefix(method, f[0]+"."), method)
			}
			f[1] = "anything"
		}
		for _, name := range f[1:] {
			require.False(t, sendsCDP(t, rules, f[0]+"."+name), "%s.%s", f[0], name)
			named++
		}
	}
	require.Greater(t, named, 300)
	for _, method := range []string{"", "#", "Page", "Page.", ".enable", "page.enable", "Page.enable ", "Page.enable 1", "Page.Enable", "Page.enable.", `Page.enable\u0000`, `\u0050age.enabled`} {
		require.False(t, sendsCDP(t, rules, method), method)
	}
	for method := range cdp {
		require.Regexp(t, `^[A-Z]\w+\.[a-z]\w+$`, method)
		require.True(t, sendsCDP(t, rules, method), method)
	}
}
