// Command imapi is the server and its tools: see imapi help.
//
//	main.go              the list of commands, signals, exit codes
//	output.go            results that cannot be written, and what is left after an interruption
//	flags.go             flags and help; rate_flags.go rates and lists of addresses in flags
//	retention_flags.go   flags of retention; presend_flags.go flags of the pre-send hook
//	serve.go             serving: listening, what it prints at the start, running, shutdown
//	serve_flags.go       its flags
//	memory.go            returning memory after a burst
//	node.go              a server with all of its parts, put together
//	data_streams.go      the hub of data streams and its flags
//	blobs.go             the directory of attachments, its backup and restore
//	control.go           how a command reaches the running server, or else opens the data itself
//	jobs.go              running backup, verify and reindex in the server, and their progress to a command
//	backup.go            backup, verify, reindex and restore
//	demo.go              the demo and the reference, and when the demo signs people in
//	thumbnails.go        the process that makes thumbnails
//	import.go, export.go
//	retention.go         previewing and running retention
//	token.go             printing a token
//	connect.go           how the commands below reach a server as a user
//	send.go, listen.go, tail.go
//	event_line.go        events and messages as lines of text
//	doctor.go            the report of imapi doctor; its checks of configuration, server, clock and token
//	doctor_data.go       its checks of directory, disk and database
//	doctor_disk_*.go     file systems that the doctor recognises, for each operating system
//	doctor_clock_*.go    the state of the clock in the kernel, for each operating system
//	doctor_stream.go     its check of the stream through proxies
//	healthcheck.go       asking a server whether it is ready
//	progress.go          progress bars
package main
