package api

import (
	"maps"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// TestDocumentIsValid checks the OpenAPI document against the specification. Servers do not check
// it at each start, because it does not change after the build.
func TestDocumentIsValid(t *testing.T) {
	spec, err := LoadWhole()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLoadHasTheContract checks that what is loaded for validation has all operations,
// parameters, schemas and members of the document.
func TestLoadHasTheContract(t *testing.T) {
	whole, err := LoadWhole()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outline(whole), outline(spec)); diff != "" {
		t.Errorf("make generate was not run, or removes too much (-document +contract.json):\n%s", diff)
	}
}

// outline lists the names in a document.
func outline(spec *openapi3.T) (names []string) {
	var schema func(at string, s *openapi3.SchemaRef)
	schema = func(at string, s *openapi3.SchemaRef) {
		if s == nil {
			return
		}
		names = append(names, at+" "+s.Ref)
		if s.Ref != "" {
			return
		}
		for name, p := range s.Value.Properties {
			schema(at+"."+name, p)
		}
		schema(at+"[]", s.Value.Items)
		schema(at+"{}", s.Value.AdditionalProperties.Schema)
		for _, list := range []openapi3.SchemaRefs{s.Value.OneOf, s.Value.AnyOf, s.Value.AllOf} {
			for _, one := range list {
				schema(at+"|", one)
			}
		}
	}
	for name, s := range spec.Components.Schemas {
		schema(name, s)
	}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			at := method + " " + path
			names = append(names, at+" "+o.OperationID)
			for _, p := range slices.Concat(item.Parameters, o.Parameters) {
				schema(at+" "+p.Value.In+" "+p.Value.Name, p.Value.Schema)
			}
			if o.RequestBody != nil {
				for kind, content := range o.RequestBody.Value.Content {
					schema(at+" "+kind, content.Schema)
				}
			}
			for status, r := range o.Responses.Map() {
				names = append(names, at+" "+status)
				for _, name := range slices.Sorted(maps.Keys(r.Value.Headers)) {
					names = append(names, at+" "+status+" "+name)
				}
				for kind, content := range r.Value.Content {
					schema(at+" "+status+" "+kind, content.Schema)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
