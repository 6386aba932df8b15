package api

import (
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// Load reads the document, for those who hold requests or answers against it.
func Load() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(Document)
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	for _, s := range spec.Components.Schemas {
		takeNull(s.Value)
	}
	if err := spec.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	return spec, nil
}

// takeNull has the validator take null where any JSON value may be. By OpenAPI 3.0
// null goes there because there is no type, and `nullable` may not stand without
// one; the validator takes null by `nullable` alone. The document marks the places.
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
