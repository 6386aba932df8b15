package handlers

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
)

// paramFit accepts values of a parameter that fit its schema, as a [fit] does for bodies. The
// validator decides about all others.
type paramFit struct {
	*fit
	name, in string
	required bool
}

// paramFits returns the fits of the parameters of an operation.
func paramFits(item *openapi3.PathItem, o *openapi3.Operation) []paramFit {
	list := make([]paramFit, 0, len(item.Parameters)+len(o.Parameters))
	for _, ref := range slices.Concat(item.Parameters, o.Parameters) {
		list = append(list, paramFit{paramFitOf(ref.Value), ref.Value.Name, ref.Value.In, ref.Value.Required})
	}
	return list
}

func paramFitOf(p *openapi3.Parameter) *fit {
	if p.Schema == nil || p.Style != "" || p.Explode != nil {
		return noFit
	}
	s := p.Schema.Value
	if s.Format == "int32" && (s.Max == nil || *s.Max > math.MaxInt32 || s.Min == nil || *s.Min < math.MinInt32) {
		return noFit
	}
	return fitOf(s)
}

// fitParams reports whether all parameters of a request are known to fit.
func fitParams(params []paramFit, r *http.Request, query url.Values, path *chi.RouteParams) bool {
	for i := range params {
		p := &params[i]
		var given []string
		switch p.in {
		case openapi3.ParameterInQuery:
			given = query[p.name]
		case openapi3.ParameterInPath:
			given = pathValue(path, p.name)
		case openapi3.ParameterInHeader:
			given = r.Header.Values(p.name)
		default:
			return false
		}
		if len(given) > 1 || len(given) == 0 && p.required || len(given) == 1 && !p.acceptsParam(given[0]) {
			return false
		}
	}
	return true
}

// notBoolean returns the name of a boolean query parameter with another value than true and false.
// The validator and the generated code also take 1, t, TRUE and the like, which the document does
// not have and other servers of this API may read differently.
func notBoolean(params []paramFit, query url.Values) (name string, found bool) {
	for _, p := range params {
		if p.in == openapi3.ParameterInQuery && p.kind == openapi3.TypeBoolean && query.Has(p.name) && !p.acceptsParam(query.Get(p.name)) {
			return p.name, true
		}
	}
	return "", false
}

// pathValue returns the value of a parameter in a path. It returns none if the path has no such
// parameter, or if its value must be decoded.
func pathValue(path *chi.RouteParams, name string) []string {
	i := slices.Index(path.Keys, name)
	if i < 0 || strings.IndexByte(path.Values[i], '%') >= 0 {
		return nil
	}
	return path.Values[i : i+1]
}

// acceptsParam reports whether the text of a parameter is known to fit.
func (f *fit) acceptsParam(text string) bool {
	switch f.kind {
	case openapi3.TypeString:
		return text != "" && f.fitsText([]byte(text))
	case openapi3.TypeBoolean:
		return text == "true" || text == "false"
	case openapi3.TypeInteger:
		return len(text) <= 15 && isDigits([]byte(strings.TrimPrefix(text, "-"))) && f.acceptsNumber([]byte(text))
	default:
		return false
	}
}
