// Command imapi-load puts load on an imapi server and reports how the server did: rates,
// latencies, what it refused, and whether every event stream received every message once and
// in order.
//
// The files:
//
//	main.go       the run from beginning to end, exit statuses
//	config.go     flags
//	scenario.go   scenarios, mixes of operations
//	world.go      users and conversations, made through the API
//	run.go        a running load, outcomes of operations
//	schedule.go   when operations are due
//	operations.go what an operation is
//	conn.go       connections for requests
//	stream.go     event streams
//	delivered.go  what streams received, and what is missing
//	histogram.go  latencies
//	result.go     the result, as text and as JSON
//	progress.go   progress of the run
package main
