package guard

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Numbers that make a page too large for a browser that others use are refused,
// by whatever parameter they come, and what screens and phones have is not.
func TestNumbersOfPages(t *testing.T) {
	viewport := func(size string) string {
		return call(1, "page@1", "setViewportSize", `{"viewportSize":`+size+`}`)
	}
	context := func(params string) string { return call(1, "browser@1", "newContext", params) }
	cdp := func(method, params string) string {
		return call(1, "cdp-session@1", "send", `{"method":"`+method+`","params":`+params+`}`)
	}
	for name, c := range map[string]struct {
		texts []string
		want  string // part of the answer to the last; "" for allowed
	}{
		"8K":                               {texts: []string{viewport(`{"width":7680,"height":4320}`)}},
		"a wall of screens":                {texts: []string{viewport(`{"width":16384,"height":2160}`)}},
		"4K at a scale of 2":               {texts: []string{context(`{"viewport":{"width":3840,"height":2160},"screen":{"width":3840,"height":2160},"deviceScaleFactor":2}`)}},
		"a phone":                          {texts: []string{context(`{"viewport":{"width":430,"height":932},"deviceScaleFactor":3.5,"isMobile":true}`)}},
		"a phone of a scale of 3, then 4K": {texts: []string{context(`{"deviceScaleFactor":3}`), viewport(`{"width":3840,"height":2160}`)}},
		"a picture of a part, then 4K":     {texts: []string{cdp("Page.captureScreenshot", `{"clip":{"width":20,"height":20,"scale":16}}`), viewport(`{"width":3840,"height":2160}`)}},
		"a phone, then 4K":                 {texts: []string{context(`{"deviceScaleFactor":2.625}`), viewport(`{"width":3840,"height":2160}`)}},
		"nothing":                          {texts: []string{context(`{"viewport":{"width":null,"height":true}}`)}},
		"numbers of other things":          {texts: []string{context(`{"storageState":{"origins":[{"indexedDB":[{"stores":[{"records":[{"value":{"width":1e9,"height":1e9}}]}]}]}]}}`)}},
		"a page's numbers":                 {texts: []string{cdp("Runtime.callFunctionOn", `{"arguments":[{"value":{"width":1e9,"scale":1e9}}]}`)}},
		"area":                             {texts: []string{viewport(`{"width":9000,"height":9000}`)}, want: "9000 × 9000 pixels at a scale of 1 are too many"},
		"width":                            {texts: []string{viewport(`{"width":16385,"height":1}`)}, want: "width may be 16384 at most"},
		"height":                           {texts: []string{viewport(`{"height":1000000,"width":1}`)}, want: "height may be 16384 at most"},
		"exponent":                         {texts: []string{viewport(`{"width":1e5,"height":1}`)}, want: "width may be"},
		"beyond numbers":                   {texts: []string{viewport(`{"width":1e999,"height":1}`)}, want: "width may be"},
		"negative":                         {texts: []string{viewport(`{"width":-1e9,"height":1}`)}, want: "width may be"},
		"many digits":                      {texts: []string{viewport(`{"width":0.` + strings.Repeat("0", 100) + `1,"height":1}`)}, want: "width may be"},
		"escaped":                          {texts: []string{viewport(`{"wi\u0064th":99999,"height":1}`)}, want: "width may be"},
		"twice":                            {texts: []string{viewport(`{"width":99999,"width":1,"height":1}`)}, want: "width may be"},
		"context":                          {texts: []string{context(`{"viewport":{"width":9000,"height":9000}}`)}, want: "too many"},
		"screen":                           {texts: []string{context(`{"screen":{"width":99999,"height":1}}`)}, want: "width may be"},
		"video":                            {texts: []string{context(`{"recordVideo":{"size":{"width":9000,"height":9000}}}`)}, want: "width may be 3840 at most"},
		"scale":                            {texts: []string{context(`{"deviceScaleFactor":17}`)}, want: "deviceScaleFactor may be 16 at most"},
		"scale of a context":               {texts: []string{context(`{"deviceScaleFactor":8,"viewport":{"width":1280,"height":1024}}`)}, want: "1280 × 1024 pixels at a scale of 8"},
		"scale before":                     {texts: []string{context(`{"deviceScaleFactor":8}`), viewport(`{"width":1280,"height":1024}`)}, want: "1280 × 1024 pixels at a scale of 8"},
		"scale after":                      {texts: []string{context(`{"viewport":{"width":1280,"height":1024},"deviceScaleFactor":8}`)}, want: "too many"},
		"screencast":                       {texts: []string{call(1, "page@1", "screencastStart", `{"size":{"width":9000,"height":9000}}`)}, want: "width may be 3840 at most"},
		"tall video":                       {texts: []string{context(`{"recordVideo":{"size":{"width":10,"height":3841}}}`)}, want: "height may be 3840 at most"},
		"tall screencast":                  {texts: []string{call(1, "page@1", "screencastStart", `{"size":{"width":10,"height":3841}}`)}, want: "height may be 3840 at most"},
		"clicks":                           {texts: []string{call(1, "page@1", "mouseClick", `{"x":1,"y":1,"clickCount":1000000000}`)}, want: "clickCount may be 100 at most"},
		"clicks of a frame":                {texts: []string{call(1, "frame@1", "click", `{"selector":"a","clickCount":101}`)}, want: "clickCount may be"},
		"clicks of a handle":               {texts: []string{call(1, "handle@1", "click", `{"clickCount":101}`)}, want: "clickCount may be"},
		"three clicks":                     {texts: []string{call(1, "frame@1", "click", `{"selector":"a","clickCount":3,"timeout":3e5}`)}},
		"metrics by CDP":                   {texts: []string{cdp("Emulation.setDeviceMetricsOverride", `{"width":9000,"height":9000,"deviceScaleFactor":0,"mobile":false}`)}, want: "too many"},
		"scale by CDP":                     {texts: []string{cdp("Emulation.setDeviceMetricsOverride", `{"width":1,"height":1,"deviceScaleFactor":100}`)}, want: "deviceScaleFactor may be"},
		"screen by CDP":                    {texts: []string{cdp("Emulation.setDeviceMetricsOverride", `{"screenWidth":9000,"screenHeight":9000}`)}, want: "too many"},
		"screencast by CDP":                {texts: []string{cdp("Page.startScreencast", `{"maxWidth":9000,"maxHeight":9000}`)}, want: "too many"},
		"picture by CDP":                   {texts: []string{cdp("Page.captureScreenshot", `{"clip":{"x":0,"y":0,"width":9000,"height":9000,"scale":1}}`)}, want: "too many"},
		"scale of a picture by CDP":        {texts: []string{cdp("Page.captureScreenshot", `{"clip":{"x":0,"y":0,"width":1280,"height":720,"scale":15}}`)}, want: "too many"},
		"params before method by CDP":      {texts: []string{call(1, "cdp-session@1", "send", `{"params":{"width":99999},"method":"Emulation.setDeviceMetricsOverride"}`)}, want: "width may be"},
	} {
		t.Run(name, func(t *testing.T) {
			g, w := newGuard(filter)
			for _, text := range c.texts {
				require.NoError(t, g.Feed(frame(opText, text)))
			}
			if c.want == "" {
				require.Empty(t, w.answers)
				return
			}
			require.Len(t, w.answers, 1)
			require.Contains(t, w.answers[0], c.want)
		})
	}
}

// A refused call does not change what later ones are judged by.
func TestARefusedScaleIsNotTheSessions(t *testing.T) {
	g, w := newGuard(filter)
	require.NoError(t, g.Feed(frame(opText, call(1, "browser@1", "newContext", `{"deviceScaleFactor":16,"viewport":{"width":2000,"height":2000}}`))))
	require.NoError(t, g.Feed(frame(opText, call(2, "page@1", "setViewportSize", `{"viewportSize":{"width":1920,"height":1080}}`))))
	require.Len(t, w.answers, 1)
}
