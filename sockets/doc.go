// Package sockets writes to TCP connections without waiting for their clients, and notices when a
// client has closed its end. So one goroutine can serve any number of connections. It is for event
// streams, whose connections are taken from an HTTP server.
//
// The files:
//
//	take.go           taking a connection from an HTTP server
//	conn.go           [Conn]: a connection, with and without TLS
//	socket.go         writing to a TCP connection without waiting
//	secure.go         the connection below TLS, which holds what the socket does not accept
//	system_linux.go   the system's write, and noticing that a client has closed its end
//	system_other.go   systems on which no connection is taken
package sockets
