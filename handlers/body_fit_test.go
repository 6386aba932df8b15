package handlers

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/jsonscan"
)

// TestFitsAgreeWithTheValidator mutates bodies that fit, thousands for each hot operation and
// hundreds for the others: whatever a fit accepts, the validator accepts, too. The validator
// decides about all other bodies, so the code and field of a refusal are the validator's own.
func TestFitsAgreeWithTheValidator(t *testing.T) {
	rules := bodyRules(t)
	for _, operation := range slices.Sorted(maps.Keys(rules)) {
		t.Run(operation, func(t *testing.T) {
			rule := rules[operation]
			g := &bodyMaker{rand.New(rand.NewPCG(1, uint64(len(operation))))}
			accepted, valid, refused := 0, 0, 0
			hot := slices.Contains([]string{"sendMessage", "sendReceipts", "revokeMessage"}, operation)
			bodies := testsize.Pick(300, 60)
			if hot {
				bodies = testsize.Pick(5000, 600)
			}
			for range bodies {
				v := g.value(rule.schema, 0)
				for g.IntN(2) == 0 {
					v = g.mutated(v)
				}
				body := g.encode(v)
				found := jsonscan.Scan(body, len(body))
				if found.Fault != "" {
					continue
				}
				fits, validator := rule.fit.accepts(found.Value), rule.refuse(body)
				switch {
				case fits && validator != nil:
					t.Fatalf("%s is accepted, the validator says %s %v: %s", body, validator.Code, *validator.Field, validator.Detail)
				case fits:
					accepted++
				}
				if validator == nil {
					valid++
				} else {
					refused++
					if got := rule.validate(found.Value); got == nil || got.Code != validator.Code || *got.Field != *validator.Field {
						t.Fatalf("%s is refused with %+v, by the validator with %+v", body, got, validator)
					}
				}
			}
			if valid == 0 || refused == 0 {
				t.Errorf("%d bodies fit, %d do not: there must be both kinds", valid, refused)
			}
			if hot && accepted < valid/2 {
				t.Errorf("of %d bodies that fit, %d are accepted: the validator must not be needed for most", valid, accepted)
			}
		})
	}
}

// TestFitSend checks that the usual sends of clients need no validator.
func TestFitSend(t *testing.T) {
	rule := bodyRules(t)["sendMessage"]
	for body, want := range map[string]bool{
		`{"type":"text","body":{"text":"hi"}}`:                                                      true,
		`{"client_id":"c-1","type":"text","body":{"text":"a\nb\u00e9"},"ext":{"a":[{}]}}`:           true,
		`{"type":"custom","body":{"name":"n","data":null},"mentions":["bob","zoë"],"receipt":true}`: true,
		`{"type":"location","body":{"latitude":-90,"longitude":1.8E2,"address":""},"push":{"a":1}}`: true,
		`{"type":"text","body":{"text":"x"},"burn":{"after_seconds":0},"expire_after_seconds":5}`:   true,
		`{"type":"text","body":{"text":""}}`:                                                        false,
		`{"type":"text","body":{"text":"x","a":1}}`:                                                 false,
		`{"type":"text","body":{"text":"x"},"mentions":["bob","bob"]}`:                              false,
		`{"type":"text","body":{"text":"x"},"mentions":["a\u0000"]}`:                                false,
		`{"type":"text","body":{"text":"x"},"client_id":"é"}`:                                       false,
		`{"type":"text","body":{"text":"x"},"client_id":"` + strings.Repeat("c", 129) + `"}`:        false,
		`{"type":"text","body":{"text":"x"},"ext":null}`:                                            false,
		`{"type":"location","body":{"latitude":90.5,"longitude":0}}`:                                false,
		`{"type":"location","body":{"latitude":1e999,"longitude":0}}`:                               false,
		`{"type":"text","body":{"text":"x"},"expire_after_seconds":0}`:                              false,
		`{"type":"video","body":{"text":"x"}}`:                                                      false,
		`{"body":{"text":"x"}}`:                                                                     false,
		`{"type":"text"}`:                                                                           false,
		`[]`:                                                                                        false,
		`null`:                                                                                      false,
	} {
		v := jsonscan.Scan([]byte(body), len(body)).Value
		if got := rule.fit.accepts(v); got != want {
			t.Errorf("%s: accepted %t, want %t", body, got, want)
		}
		if p := rule.validate(v); (p == nil) != want || p != nil && p.Status != http.StatusBadRequest {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

// FuzzFit is TestFitsAgreeWithTheValidator for any text.
func FuzzFit(f *testing.F) {
	rules := bodyRules(f)
	operations := slices.Sorted(maps.Keys(rules))
	g := &bodyMaker{rand.New(rand.NewPCG(2, 2))}
	for i, operation := range operations {
		f.Add(uint8(i), g.encode(g.value(rules[operation].schema, 0)))
		f.Add(uint8(i), g.encode(g.mutated(g.value(rules[operation].schema, 0))))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		rule := rules[operations[int(which)%len(operations)]]
		found := jsonscan.Scan(body, len(body))
		if found.Fault != "" {
			return
		}
		if p := rule.refuse(body); p != nil && rule.validate(found.Value) == nil {
			t.Errorf("%s is accepted, the validator says %+v", body, p)
		}
	})
}

// bodyMaker makes bodies that fit a schema, and others that nearly do.
type bodyMaker struct{ *rand.Rand }

func (g *bodyMaker) value(s *openapi3.Schema, depth int) any {
	switch {
	case s.Nullable && g.IntN(5) == 0:
		return nil
	case len(s.OneOf) > 0:
		return g.value(s.OneOf[g.IntN(len(s.OneOf))].Value, depth)
	case len(s.AllOf) > 0:
		return g.value(s.AllOf[0].Value, depth)
	case len(s.Enum) > 0:
		return s.Enum[g.IntN(len(s.Enum))]
	case s.Type == nil:
		return g.any(depth)
	case s.Type.Is("object"):
		object := map[string]any{}
		names := slices.Sorted(maps.Keys(s.Properties))
		for _, name := range names {
			if slices.Contains(s.Required, name) || g.IntN(3) == 0 {
				object[name] = g.value(s.Properties[name].Value, depth+1)
			}
		}
		if len(names) == 0 {
			object["a"] = g.any(depth + 1)
		}
		return object
	case s.Type.Is("array"):
		list := make([]any, g.IntN(4))
		for i := range list {
			list[i] = g.value(s.Items.Value, depth+1)
		}
		return list
	case s.Type.Is("boolean"):
		return g.IntN(2) == 0
	case s.Type.Is("string"):
		if s.Format == "date-time" {
			return "2026-01-02T03:04:05Z"
		}
		return []string{"alice", "bob", "c-1", "x", "é\n", "hi there", strings.Repeat("w", 1+g.IntN(200))}[g.IntN(7)]
	default:
		low, high := 0.0, 100.0
		if s.Min != nil {
			low = *s.Min
		}
		if s.Max != nil {
			high = *s.Max
		}
		return json.Number(fmt.Sprintf("%.0f", low+g.Float64()*(high-low)))
	}
}

func (g *bodyMaker) any(depth int) any {
	if depth > 5 {
		return "deep"
	}
	return []any{nil, true, json.Number("1.5"), json.Number("-0"), json.Number("1e999"), json.Number("1E2"), json.Number("12345678901234567"), "", "x", "text", "\u2028\"", []any{}, []any{nil, "x"}, map[string]any{}, map[string]any{"type": "text", "b": g.Uint32()}}[g.IntN(15)]
}

// mutated returns a value with one change somewhere in it.
func (g *bodyMaker) mutated(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		if len(names) == 0 || g.IntN(8) == 0 {
			v[[]string{"unknown", "type", "body", "text", "ext", "mentions", ""}[g.IntN(7)]] = g.any(0)
			return v
		}
		name := names[g.IntN(len(names))]
		if g.IntN(6) == 0 {
			delete(v, name)
		} else {
			v[name] = g.mutated(v[name])
		}
		return v
	case []any:
		if len(v) > 0 && g.IntN(2) == 0 {
			return append(v, v[g.IntN(len(v))])
		}
		return append(v, g.any(1))
	case string:
		return []any{v + v, strings.ToUpper(v), v + "\u0000", "", v + "é", nil, json.Number("7"), strings.Repeat(v, 150)}[g.IntN(8)]
	case json.Number:
		return []any{json.Number("-1"), json.Number("0"), v + ".0", v + "e1", "7", json.Number("1e400"), json.Number("99999999999")}[g.IntN(7)]
	default:
		return g.any(0)
	}
}

// encode encodes a value, sometimes with white space, or with one of its letters escaped.
func (g *bodyMaker) encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // an invalid number, mutated twice
	}
	switch text := string(b); g.IntN(6) {
	case 0:
		return []byte(" " + strings.ReplaceAll(strings.ReplaceAll(text, ":", " : "), ",", "\n, ") + "\t")
	case 1:
		return []byte(strings.ReplaceAll(text, "t", `\u0074`))
	case 2:
		return []byte(strings.Replace(text, "e", `\u0065`, 1+g.IntN(3)))
	default:
		return b
	}
}
