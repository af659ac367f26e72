package config

import "strings"

// didYouMean ends an error about an unknown name with the nearest known one.
func didYouMean(name string, known []string) string { return suggest(name, known, "") }

func suggest(name string, known []string, dashes string) string {
	if best, ok := nearest(name, known); ok {
		return "; did you mean " + dashes + best + "?"
	}
	return "; --help lists all settings"
}

// nearest finds the known name with the smallest edit distance, if that is
// small enough to be a slip. A name without its group ("url" for "redis.url")
// is near too.
func nearest(name string, known []string) (best string, ok bool) {
	limit := max(2, len(name)/3)
	distance := limit + 1
	plain := normal(name)
	for _, k := range known {
		d := editDistance(plain, normal(k))
		if last := k[strings.LastIndexByte(k, '.')+1:]; last == name && last != k {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = k, d
		}
	}
	return best, best != ""
}

// normal makes names comparable that differ in case and separators only.
func normal(name string) string {
	return strings.NewReplacer("__", "_", ".", "_", "-", "_").Replace(strings.ToLower(name))
}

// editDistance is the number of insertions, deletions, replacements and swaps
// of neighbours that turn a into b.
func editDistance(a, b string) int {
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
