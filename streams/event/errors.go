package event

import "fmt"

// MalformedError says that an entry cannot be read as an event.
type MalformedError struct {
	StreamID string
	Field    string
	Problem  string
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed event%s: field %q %s", at(e.StreamID), e.Field, e.Problem)
}

// VersionError says that an entry was written by a newer schema version than
// this package knows. The event that comes with it holds what could be read.
type VersionError struct {
	StreamID string
	Version  int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("event%s has schema version %d, this reader knows up to %d: upgrade it", at(e.StreamID), e.Version, Version)
}

func at(streamID string) string {
	if streamID == "" {
		return ""
	}
	return " at " + streamID
}
