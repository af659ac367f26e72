package guard

import (
	"fmt"
	"strconv"
)

// The browser and its server draw and work for all sessions. Numbers of one
// client have been seen to take gigabytes, to end the browser, or to keep the
// server busy until all others had given up.
const (
	// maxPixels is how many pixels a page or a picture may have: 8K has 33 million, 4K at a phone's scale of 3 has 75
	// million. For 100 million the browser took 3 GB.
	maxPixels = 80e6
	// maxSide is how many pixels of CSS one side may have: 8K has 7680.
	maxSide = 16384
	// maxFilm is the same of what is filmed: the server itself makes the first picture of a film where the browser gives none.
	maxFilm = 3840
	// maxScale is how many pixels of the device are one of CSS in each direction: phones have up to 4.
	maxScale = 16
	// maxClicks is how many clicks are one call, for which the server makes all events at once.
	maxClicks = 100
	// maxNumber is how many characters a number may have that is looked at.
	maxNumber = 64
)

// limit is the most that a number of a call may be.
type limit struct {
	key   string
	depth int // of the key, see watch
	of    int
	most  float64
}

// What a number is of. The product of width, height and twice the scale is
// bounded as well.
const (
	ofWidth = iota
	ofHeight
	ofScale // of the context's pages from now on
	ofZoom  // of one picture
	ofCount
)

// limits are the reviewed numbers by method.
var limits = map[string][]limit{
	"Browser.newContext": {
		{"width", 3, ofWidth, maxSide}, {"height", 3, ofHeight, maxSide}, // of viewport and screen
		{"width", 4, ofWidth, maxFilm}, {"height", 4, ofHeight, maxFilm}, // of recordVideo.size
		{"deviceScaleFactor", 2, ofScale, maxScale},
	},
	"Page.setViewportSize": {{"width", 3, ofWidth, maxSide}, {"height", 3, ofHeight, maxSide}},
	"Page.screencastStart": {{"width", 3, ofWidth, maxFilm}, {"height", 3, ofHeight, maxFilm}},
	"Page.mouseClick":      {{"clickCount", 2, ofCount, maxClicks}},
	"Frame.click":          {{"clickCount", 2, ofCount, maxClicks}},
	"ElementHandle.click":  {{"clickCount", 2, ofCount, maxClicks}},
	"CDPSession.send": {
		// Emulation.setDeviceMetricsOverride.
		{"width", 3, ofWidth, maxSide}, {"height", 3, ofHeight, maxSide}, {"deviceScaleFactor", 3, ofScale, maxScale},
		{"screenWidth", 3, ofWidth, maxSide}, {"screenHeight", 3, ofHeight, maxSide},
		{"maxWidth", 3, ofWidth, maxSide}, {"maxHeight", 3, ofHeight, maxSide}, // Page.startScreencast
		{"width", 4, ofWidth, maxSide}, {"height", 4, ofHeight, maxSide}, {"scale", 4, ofZoom, maxScale}, // the clip of Page.captureScreenshot
	},
}

// measured are the watched parameters of a method that are numbers.
func measured(method string) []watch {
	all := make([]watch, 0, len(limits[method]))
	for _, l := range limits[method] {
		all = append(all, watch{key: l.key, depth: l.depth, limit: &l})
	}
	return all
}

// size is what a call says of how large something is to be; 0 = nothing.
type size [4]float64

// take notes a number as JSON has it, and says what is wrong with it. Scale is
// the largest that the session has asked for: a later call need not name it again.
func (s *size) take(l *limit, number []byte, scale float64) string {
	n, err := strconv.ParseFloat(string(number), 64)
	if err != nil || len(number) > maxNumber || n > l.most || n < -l.most {
		return fmt.Sprintf("%s may be %g at most where a browser is shared. Use a smaller one.", l.key, l.most)
	}
	if l.of == ofCount {
		return ""
	}
	// Of several, such as viewport and screen, the larger ones count.
	s[l.of] = max(s[l.of], n)
	if scale = max(scale, s[ofScale], s[ofZoom], 1); s[ofWidth]*s[ofHeight]*scale*scale > maxPixels {
		return fmt.Sprintf("%g × %g pixels at a scale of %g are too many: a page or a picture may have %g million where a browser is shared. Use a smaller size or deviceScaleFactor.",
			s[ofWidth], s[ofHeight], scale, maxPixels/1e6)
	}
	return ""
}
