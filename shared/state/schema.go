//go:build !pwdist_other_schema

package state

// Schema is the version of the scripts and of the data they keep. It changes
// when a release could misread what another release wrote; a pool refuses
// calls of any other version.
const Schema = "7"
