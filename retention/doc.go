// Package retention runs the jobs of a server that depend on time. Most delete data after its
// time. Package im decides what to delete; this package decides when.
//
//	retention.go   Regularly: trimming the event log, forgetting keys of trimmed messages
//	timers.go      Timers: erasing messages that burn or expire
//	cleanup.go     Cleanup: trimming messages past retention, purging deleted conversations
//	clock.go       WatchClock: noticing jumps of the wall clock
//	thumbnails.go  Thumbnails: making thumbnails outside of requests
//	sleep.go       sleeping by the wall clock and the monotonic clock
package retention
