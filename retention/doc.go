// Package retention runs the background jobs of a server, most of which delete data that has been
// kept long enough. Package im decides what to delete; this package decides when.
//
//	retention.go   Regularly: trimming the event log, deleting old client ids and the like
//	timers.go      Timers: erasing messages that burn or expire
//	cleanup.go     Cleanup: trimming messages past retention, purging deleted conversations
//	clock.go       WatchClock: noticing jumps of the wall clock
//	thumbnails.go  Thumbnails: making thumbnails outside of requests
//	sleep.go       sleeping by the wall clock and the monotonic clock
package retention
