package client

import "time"

// Time is a time, in RFC 3339 in JSON.
type Time = time.Time
