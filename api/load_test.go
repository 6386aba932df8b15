package api

import "testing"

// TestDocumentIsValid checks the OpenAPI document against the specification. Servers do not check
// it at each start, because it does not change after the build.
func TestDocumentIsValid(t *testing.T) {
	spec, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}
