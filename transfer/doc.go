// Package transfer is the format of imports and exports: lines of JSON, each of which
// is one message or one conversation with its members. It also converts chat history
// from other services into that format.
//
// The parts, one file each: [Reader] splits an import into lines, [ParseLine] and [ParseMessage]
// read one, [Encoder] writes those of an export, and [Easemob] converts an export of Easemob.
//
// The package knows the domain but not HTTP. It checks lines against the rules of the OpenAPI
// document by itself, because the document's validator would take longer than the rest of an
// import. FuzzImportLine in package handlers compares the two.
package transfer
