package telemetry

import "time"

// SetStopTime sets what a running request may take at the end.
func (a *Admin) SetStopTime(d time.Duration) { a.stopTime = d }
