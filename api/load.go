package api

import (
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// Load returns the parsed OpenAPI document for validation.
func Load() (*openapi3.T, error) {
	spec, err := openapi3.NewLoader().LoadFromData(Document)
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
