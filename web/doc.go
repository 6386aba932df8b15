// Package web serves the demo, a page with the messengers of two people side by side, built only on
// the public API. It also serves the API reference.
//
//	web.go           the files of the page, and its content security policy
//	signin.go        who may sign in without a token of their own
//	peer_linux.go    the user of the process at the other end of a connection
//	peer_other.go    the same for systems that do not tell
//	proof.go         looking for a text in the files of a directory
//	reference.go     the reference: reference/, with the renderer that vendor.mjs there gets from npm
//	src/             the page, in TypeScript: see src/main.tsx
//	dist/            what `make web` builds from it; committed, so that building imapi needs only Go
package web
