package client

import "time"

// Time is a point in time, which the contract writes as RFC 3339.
type Time = time.Time
