package guard

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// What calls say of sizes is judged here, and the size of a picture that only the
// Playwright server knows beside that server. The limit is the same.
func TestPicturesHaveOneLimit(t *testing.T) {
	text, err := os.ReadFile("../browser/preload/pictures.mjs")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^export const mostPixels = (\S+);`).FindSubmatch(text)
	require.NotNil(t, m)
	most, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	require.InDelta(t, float64(maxPixels), most, 0)
}
