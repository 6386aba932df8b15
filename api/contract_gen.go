//go:build ignore

// This program writes contract.json, the OpenAPI document without its descriptions and examples.
// `make generate` runs it in the root of the repository.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	spec, err := openapi3.NewLoader().LoadFromFile("api/openapi.yaml")
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		log.Fatal(err)
	}
	var document any
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&document); err != nil {
		log.Fatal(err)
	}
	prune(document, false)
	if err := os.WriteFile("api/contract.json", append(lines(nil, document, 3), '\n'), 0o644); err != nil {
		log.Fatal(err)
	}
}

// lines appends v as JSON with a line for each operation and each component.
func lines(b []byte, v any, depth int) []byte {
	members, ok := v.(map[string]any)
	if !ok || depth == 0 {
		text, err := json.Marshal(v)
		if err != nil {
			log.Fatal(err)
		}
		return append(b, text...)
	}
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = lines(append(lines(b, name, 0), ':'), members[name], depth-1)
	}
	return append(b, '}')
}

var (
	// forPeople are members that say nothing to a validator.
	forPeople = []string{"summary", "description", "example", "examples", "externalDocs"}
	// naming are members whose own members have names that the document chooses.
	naming = []string{"paths", "properties", "schemas", "parameters", "responses", "requestBodies", "headers", "securitySchemes", "content", "mapping"}
)

// prune removes what is for people. named says that the document chose the names of v's members.
func prune(v any, named bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			prune(item, false)
		}
	case map[string]any:
		for name, member := range v {
			switch {
			case named:
				prune(member, false)
			case slices.Contains(forPeople, name):
				delete(v, name)
			case name != "default" && name != "enum" && !strings.HasPrefix(name, "x-"): // values, not schemas
				prune(member, slices.Contains(naming, name))
			}
		}
	}
}
