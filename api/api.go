// Package api is the HTTP contract: the OpenAPI document, and the types, router
// and server interface that are generated from it.
package api

import _ "embed"

// Document is openapi.yaml as it is served.
//
//go:embed openapi.yaml
var Document []byte
