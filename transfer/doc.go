// Package transfer is the format of imports and exports: lines of JSON, each of which
// is one message or one conversation with its members. It also converts chat history
// from other services into that format.
//
//	reader.go       [Reader]: splitting an import into lines
//	import_line.go  [ParseLine] and [ParseMessage]: reading one
//	value.go        reading one value of a line: its type, range and refusal
//	export_line.go  [Encoder]: writing the lines of an export
//	easemob.go      [Easemob]: converting an export of Easemob
//
// The package knows the domain but not HTTP. It checks lines against the rules of the OpenAPI
// document by itself, because the document's validator would take longer than the rest of an
// import. FuzzImportLine in package handlers compares the two.
package transfer
