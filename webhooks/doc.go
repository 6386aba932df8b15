// Package webhooks delivers events to the HTTP endpoints of the application.
//
// Each webhook has a goroutine that reads the event log from the webhook's position on and
// makes one request after the other. So a slow or dead endpoint delays no other, and costs only a
// goroutine, a connection and a part of the log without content. The content of a request is looked
// up for each attempt. Package im decides the outcome of an attempt and stores it.
//
//	deliverer.go  [Deliverer]: what it needs, and starting and stopping goroutines as webhooks change
//	endpoint.go   one webhook: reading, delivering, saving
//	request.go    one request: its headers, and what its answer means
package webhooks
