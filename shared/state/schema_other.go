//go:build pwdist_other_schema

package state

// Schema of a build that stands for another release, with which a test shows
// that two of them do not share a pool.
const Schema = "other"
