// Package transfer is the format of imports and exports: lines of JSON, each of which
// is one message or one conversation with its members. It also converts chat history
// from other services into that format.
//
// The parts, one a file: [Reader] splits an import into lines, [ParseLine] and
// [ParseMessage] read one, [Encoder] writes those of an export, and [Easemob] converts
// an export of Easemob.
//
// The package knows the domain and not HTTP. What the OpenAPI document says of a line
// is checked here again, without the document's validator: that would take longer than
// everything else that an import does. FuzzImportLine in package handlers compares the
// two.
package transfer
