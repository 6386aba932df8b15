// Package api is the HTTP contract: the OpenAPI document, and the types, router
// and server interface that are generated from it.
//
//	api.go           the document as it is served
//	api.gen.go       what is generated: types, router, server interface
//	load.go          the document for validation, from contract.json
//	contract_gen.go  the program that writes contract.json
//	time.go          times in answers
package api

import _ "embed"

// Document is openapi.yaml as it is served.
//
//go:embed openapi.yaml
var Document []byte
