package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// document is the OpenAPI document in the form that requests are checked against.
type document struct {
	routes map[routeKey]*routers.Route
	costs  map[routeKey]cost
	bodies map[routeKey]*bodyRule
	params map[routeKey][]paramFit
	// writes are the operations that write to the store: those that a full disk refuses.
	writes map[routeKey]bool
}

// routeKey is a method and a path template, which the OpenAPI document and the router
// write alike.
type routeKey struct{ method, pattern string }

// userIDFormat is the format of user ids in the OpenAPI document. No pattern that all
// generators can read describes them.
const userIDFormat = "user-id"

// timeFormat is the format of times in the OpenAPI document.
const timeFormat = "date-time"

var (
	errUserID = fmt.Errorf("is not a user id: %s", im.UserIDRule)
	errTime   = errors.New("must be an RFC 3339 time such as 2026-01-02T03:04:05Z")
)

func init() {
	// The pattern lets 30 February pass, and the time package a comma before the fraction.
	pattern := regexp.MustCompile(openapi3.FormatOfStringDateTime)
	openapi3.DefineStringFormatValidator(timeFormat, openapi3.NewCallbackValidator(func(text string) error {
		if _, err := time.Parse(time.RFC3339, text); err != nil || !pattern.MatchString(text) {
			return errTime
		}
		return nil
	}))
	openapi3.DefineStringFormatValidator(userIDFormat, openapi3.NewCallbackValidator(func(id string) error {
		if !im.UserID(id).Valid() {
			return errUserID
		}
		return nil
	}))
}

// contract returns the OpenAPI document, which servers of one process share: reading it
// takes most of a server's start.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	spec, err := api.Load()
	if err != nil {
		return nil, err
	}
	for _, item := range spec.Paths.Map() {
		for _, operation := range item.Operations() {
			// The middleware has authenticated the caller. If the validator did so again,
			// it would keep the body of each request in memory until the request ends,
			// which takes hours for a stream.
			operation.Security = openapi3.NewSecurityRequirements()
		}
	}
	return spec, nil
})

// loadDocument returns the rules of each operation for a server whose messages have at
// most maxMessage bytes.
func loadDocument(maxMessage int) (*document, error) {
	spec, err := contract()
	if err != nil {
		return nil, err
	}
	d := &document{
		routes: make(map[routeKey]*routers.Route), costs: make(map[routeKey]cost), bodies: make(map[routeKey]*bodyRule),
		params: make(map[routeKey][]paramFit), writes: make(map[routeKey]bool),
	}
	for pattern, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			if d.costs[routeKey{method, pattern}], err = readCost(operation); err != nil {
				return nil, err
			}
			if d.bodies[routeKey{method, pattern}], err = readBodyRule(operation, maxMessage); err != nil {
				return nil, err
			}
			d.params[routeKey{method, pattern}] = paramFits(item, operation)
			d.writes[routeKey{method, pattern}] = operation.Responses.Status(http.StatusInsufficientStorage) != nil
			d.routes[routeKey{method, pattern}] = &routers.Route{
				Spec: spec, Path: pattern, PathItem: item, Method: method, Operation: operation,
			}
		}
	}
	return d, nil
}

// operation names a route for logs and metrics.
func (d *document) operation(method, pattern string) string {
	if r := d.routes[routeKey{method, pattern}]; r != nil {
		return r.Operation.OperationID
	}
	return "none"
}

// costOf returns the cost of an operation; 1 if there is no such operation.
func (d *document) costOf(method, pattern string) cost {
	if c, known := d.costs[routeKey{method, pattern}]; known {
		return c
	}
	return cost{base: 1}
}

// validated checks a request against its operation in the OpenAPI document. It uses the router's
// match, because a second one could disagree with it.
func (s *Server) validated(d *document) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.validate(d, w, r, next) })
	}
}

func (s *Server) validate(d *document, w http.ResponseWriter, r *http.Request, next http.Handler) {
	rctx := chi.RouteContext(r.Context())
	key := routeKey{r.Method, rctx.RoutePattern()}
	route := d.routes[key]
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		// url.Values would drop parameters that cannot be read, such as a filter.
		write(w, invalidField("query", "cannot be read"))
		return
	}
	if p, ok := unknownParameter(route, query); !ok {
		write(w, p)
		return
	}
	rule := d.bodies[key]
	if rule != nil && isEncoded(r.Header) {
		// Otherwise an upload would be stored in its compressed form.
		w.Header().Set("Accept-Encoding", "identity")
		write(w, unsupported("Content-Encoding", "the body must not be compressed"))
		return
	}
	body, refused := s.readBody(w, r, rule)
	if refused != nil {
		write(w, *refused)
		return
	}
	var scanned jsonscan.Value
	if body != nil {
		// The decoded body stays in memory about as long as the request.
		user := principal(r.Context()).User
		if err := s.bodies.decoding.acquire(r.Context(), user, len(body), s.bodies.wait); err != nil {
			s.fail(w, r, err)
			return
		}
		defer s.bodies.decoding.release(user, len(body))
		if scanned, err = rule.scan(body); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	if err := s.limits.spendMore(principal(r.Context()), d.costs[key], scanned); err != nil {
		s.fail(w, r, err)
		return
	}
	if !fitParams(d.params[key], r, query, &rctx.URLParams) {
		if name, found := notBoolean(d.params[key], query); found {
			write(w, invalidField(name, "must be true or false"))
			return
		}
		if err := validateParams(r, query, route, &rctx.URLParams); err != nil {
			write(w, describe(err))
			return
		}
	}
	if body != nil {
		if refused = rule.validate(scanned); refused != nil {
			write(w, *refused)
			return
		}
		r.Body = &validBody{bytes.NewReader(body), scanned}
	}
	next.ServeHTTP(w, r)
}

// validateParams has the validator check the parameters of a request.
func validateParams(r *http.Request, query url.Values, route *routers.Route, path *chi.RouteParams) error {
	params := make(map[string]string, len(path.Keys))
	for i, key := range path.Keys {
		// The router has refused paths that cannot be decoded.
		params[key], _ = url.PathUnescape(path.Values[i])
	}
	return openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, QueryParams: query, Route: route,
		Options: &openapi3filter.Options{SkipSettingDefaults: true, ExcludeRequestBody: true},
	})
}

// validBody is a scanned body that fits the OpenAPI document.
type validBody struct {
	*bytes.Reader
	value jsonscan.Value
}

// Close does nothing.
func (*validBody) Close() error { return nil }

// unknownParameter refuses query parameters that the operation does not have, or that are given
// more than once. If they were ignored, a misspelt filter would return everything.
func unknownParameter(route *routers.Route, query url.Values) (api.Problem, bool) {
	for name, values := range query {
		known := func(p *openapi3.ParameterRef) bool {
			return p.Value.In == openapi3.ParameterInQuery && p.Value.Name == name
		}
		if len(values) > 1 {
			return invalidField(im.ClipField(name), "is given more than once"), false
		}
		if !slices.ContainsFunc(route.Operation.Parameters, known) && !slices.ContainsFunc(route.PathItem.Parameters, known) {
			return invalidField(im.ClipField(name), "is not a parameter of this operation"), false
		}
	}
	return api.Problem{}, true
}

// describe returns the problem of an error of the validator. It names the field, but does
// not repeat what the client sent in it.
func describe(err error) api.Problem {
	var request *openapi3filter.RequestError
	if !errors.As(err, &request) {
		return problem(http.StatusBadRequest, "invalid_request", "does not fit the OpenAPI document")
	}
	field, detail := "body", "does not fit the OpenAPI document"
	if p := request.Parameter; p != nil {
		field = p.Name
	}
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case errors.As(request.Err, &schema):
		path, reason := innermost(schema)
		if request.Parameter == nil && path != "" {
			field = path
		}
		detail = reason
	case errors.As(request.Err, &parse):
		detail = "must be " + typeName(request.Parameter.Schema.Value.Type)
	case errors.Is(request.Err, openapi3filter.ErrInvalidRequired):
		detail = "is missing"
	case errors.Is(request.Err, openapi3filter.ErrInvalidEmptyValue):
		detail = "must not be empty"
	}
	return invalidField(field, detail)
}

// unknownMember finds the name of an unknown member, which the validator has in its message
// only.
var unknownMember = regexp.MustCompile(`^property "(.+)" is unsupported$`)

// innermost follows a schema error through oneOf to the member that does not fit.
func innermost(e *openapi3.SchemaError) (path, reason string) {
	parts := e.JSONPointer()
	for e.Origin != nil {
		var inner *openapi3.SchemaError
		if !errors.As(e.Origin, &inner) {
			break
		}
		e = inner
		path := e.JSONPointer()
		if len(path) >= len(parts) && slices.Equal(path[:len(parts)], parts) {
			parts = nil // the validator repeats the path in the errors of a nested oneOf
		}
		parts = append(parts, path...)
	}
	if m := unknownMember.FindStringSubmatch(e.Reason); m != nil {
		return im.ClipField(strings.Join(append(parts, m[1]), "/")), "is not a known member"
	}
	if d := e.Schema.Discriminator; d != nil && (e.SchemaField == "discriminator" || e.SchemaField == "oneOf") {
		parts = append(parts, d.PropertyName)
	}
	return im.ClipField(strings.Join(parts, "/")), requirement(e)
}

// badRequest answers a request that the generated code refuses: a parameter or a body that
// it cannot decode.
func (s *Server) badRequest(w http.ResponseWriter, r *http.Request, err error) {
	var (
		format   *api.InvalidParamFormatError
		required *api.RequiredParamError
		header   *api.RequiredHeaderError
		many     *api.TooManyValuesForParamError
		badTime  *time.ParseError
		badValue *strconv.NumError
	)
	switch {
	case errors.As(err, &format):
		detail := "is of the wrong type"
		if len(r.URL.Query()[format.ParamName]) > 1 {
			detail = "is given more than once"
		} else if lostPlus(r.URL.Query().Get(format.ParamName)) {
			detail = "has a space instead of a +: in a query, write + as %2B, or give the time in UTC, with Z"
		} else if errors.As(err, &badTime) {
			detail = errTime.Error()
		} else if errors.As(err, &badValue) {
			detail = "must be an integer"
			if badValue.Func == "ParseBool" {
				detail = "must be true or false"
			}
		}
		write(w, invalidField(format.ParamName, detail))
	case errors.As(err, &required):
		write(w, invalidField(required.ParamName, "is missing"))
	case errors.As(err, &header):
		write(w, invalidField(header.ParamName, "is missing"))
	case errors.As(err, &many):
		write(w, invalidField(many.ParamName, "is given more than once"))
	default:
		write(w, invalidField(undecoded(err)))
	}
}

// undecoded names the field of a body that fits the OpenAPI document but cannot be decoded.
func undecoded(err error) (field, detail string) {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return im.ClipField(strings.ReplaceAll(wrong.Field, ".", "/")), undecodedDetail
	}
	return "body", "does not fit the OpenAPI document"
}

// undecodedDetail is about integers, because JSON Schema also accepts 1e3 and 1.0 as integers.
const undecodedDetail = "must be an integer, written only with digits"

// lostPlus reports whether a text would be a time if its space were a +. In a query a +
// means a space, so the time looked right to the client that sent it.
func lostPlus(text string) bool {
	before, after, found := strings.Cut(text, " ")
	_, err := time.Parse(time.RFC3339, before+"+"+after)
	return found && err == nil
}
