// Package outgoing sends HTTP requests to URLs that admins and operators configure.
//
// Without precautions, whoever configures a URL could make the server call services in its own
// network that trust every caller there. So each address is checked when it can no longer change:
// after DNS, as the connection is opened ([Client.Post]). [CheckURL] refuses what can be refused
// before that, with a reason for its author.
//
// A client
//
//   - connects only to public addresses, and to private ones if they are allowed, but never to
//     addresses that no receiver has: link-local, multicast, reserved
//   - speaks HTTPS, and HTTP only to addresses that are not public
//   - follows no redirects and uses no proxies, which would connect to addresses of their own
//   - limits the time of a request, and the headers and the body of its answer
//   - keeps no cookies, and reports errors that quote neither URL nor answer
//
// The files:
//
//	url.go      [CheckURL]: what can be refused before a request
//	address.go  which addresses are public, private or without a receiver
//	client.go   [Client.Post], and the reasons of its errors
package outgoing
