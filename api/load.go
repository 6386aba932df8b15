package api

import (
	_ "embed"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// contract is the OpenAPI document as JSON, without descriptions and examples. Each server parses
// it when it starts; parsing the whole document would take several times as long.
//
//go:embed contract.json
var contract []byte

// Load returns the OpenAPI document for validation, without descriptions and examples.
func Load() (*openapi3.T, error) { return load(contract) }

// LoadWhole returns the OpenAPI document with descriptions and examples, for tests that check them.
func LoadWhole() (*openapi3.T, error) { return load(Document) }

func load(text []byte) (*openapi3.T, error) {
	spec, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	for _, s := range spec.Components.Schemas {
		takeNull(s.Value)
	}
	return spec, nil
}

// takeNull makes the validator accept null where any JSON value is allowed. In OpenAPI 3.0
// a schema without a type allows null, and `nullable` needs a type; the validator accepts
// null only with `nullable`. The document marks these schemas.
func takeNull(s *openapi3.Schema) {
	if s.Extensions["x-nullable"] == true {
		s.Nullable = true
	}
	for _, p := range s.Properties {
		if p.Ref == "" {
			takeNull(p.Value)
		}
	}
}
