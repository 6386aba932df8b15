package handlers

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-chi/chi/v5"
)

// TestParamFitsAgreeWithTheValidator checks that the validator accepts each text of a parameter
// that a fit accepts, and that the fits accept the texts that clients usually send.
func TestParamFitsAgreeWithTheValidator(t *testing.T) {
	doc, err := loadDocument(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{
		"", " ", "0", "1", "-1", "00", "01", "+1", "-", "1.0", "1e3", "50", "100", "101", "200", "201", "1000", "1001", "2147483648",
		"9007199254740991", "9007199254740992", "123456789012345", "9223372036854775808", "true", "false", "TRUE", "t", "null", "[]",
		"alice", "@bob", "@", "a b", "a/b", "a%2Fb", "ä", "\xff", "\x00", "a\nb", "text", "image", "command", "deny", "allow",
		"2026-01-02T03:04:05Z", "2026-01-02", "0123456789abc", "phone 1", strings.Repeat("x", 64), strings.Repeat("x", 65),
		strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("ü", 200), strings.Repeat("x", 5000),
	}
	accepted, refused := map[string]int{}, 0
	for key, route := range doc.routes {
		for _, p := range doc.params[key] {
			for _, text := range texts {
				r := httptest.NewRequest(key.method, "/", nil)
				query, path, params := url.Values{}, &chi.RouteParams{}, map[string]string{}
				switch p.in {
				case openapi3.ParameterInQuery:
					query.Set(p.name, text)
				case openapi3.ParameterInPath:
					path.Add(p.name, text)
					params[p.name], _ = url.PathUnescape(text)
				case openapi3.ParameterInHeader:
					r.Header.Set(p.name, text)
				}
				fits := fitParams([]paramFit{p}, r, query, path)
				ref := route.Operation.Parameters.GetByInAndName(p.in, p.name)
				if ref == nil {
					ref = route.PathItem.Parameters.GetByInAndName(p.in, p.name)
				}
				err := openapi3filter.ValidateParameter(t.Context(), &openapi3filter.RequestValidationInput{
					Request: r, PathParams: params, QueryParams: query, Route: route,
					Options: &openapi3filter.Options{SkipSettingDefaults: true, ExcludeRequestBody: true},
				}, ref)
				switch {
				case fits && err != nil:
					t.Errorf("%s of %s: %.40q is accepted, the validator says %v", p.name, route.Operation.OperationID, text, err)
				case fits:
					accepted[fmt.Sprint(p.name, "=", text)]++
				case err != nil:
					refused++
				}
			}
			if p.required && fitParams([]paramFit{p}, httptest.NewRequest(key.method, "/", nil), nil, &chi.RouteParams{}) {
				t.Errorf("%s of %s is required, and a request without it is accepted", p.name, route.Operation.OperationID)
			}
		}
	}
	for _, usual := range []string{"conversation=0123456789abc", "conversation=@bob", "limit=50", "before_seq=100", "include_erased=false", "sender=alice", "type=image", "user=alice", "X-Device-Id=phone 1"} {
		if accepted[usual] == 0 {
			t.Errorf("%s is not accepted", usual)
		}
	}
	if refused == 0 {
		t.Error("the validator refuses nothing")
	}
}
