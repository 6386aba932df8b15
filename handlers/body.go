package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// The media types of bodies that operations read themselves.
const (
	ndjson = "application/x-ndjson" // lines of JSON
	octets = "application/octet-stream"
)

// moreTypesExtension lists media types of a body besides those of its content.
const moreTypesExtension = "x-more-media-types"

// Extensions of an operation that set the maximum size of its body, in bytes.
const (
	bodyExtension   = "x-max-body-bytes"
	bodyOfExtension = "x-max-body-bytes-per-message-byte"
	// streamedExtension is set for an operation that reads its body itself, whatever the media
	// type.
	streamedExtension = "x-body-streamed"
)

const (
	// defaultBody is the size limit of a body, in bytes, if the OpenAPI document sets none, and
	// maxBody the largest limit that it may set.
	defaultBody = 64 << 10
	maxBody     = 1 << 20
	// mostValues is the maximum number of JSON values in a body, besides those of a message. No
	// valid body has more, because lists and sizes are limited, too.
	mostValues = 5000
)

// bodyRule is what the OpenAPI document says about the body of an operation.
type bodyRule struct {
	mediaTypes []string // nil for any
	optional   bool
	// unread is set if the operation reads its body itself, as it arrives.
	unread bool
	// most is the limit in bytes, and values the limit in JSON values.
	most, values int
	// message is the size limit of a message in the body, 0 if it has none.
	message int
	schema  *openapi3.Schema
	fit     *fit
	shape   *shape
}

// readBodyRule reads the rule of an operation. It returns nil if the operation has no body.
func readBodyRule(o *openapi3.Operation, maxMessage int) (*bodyRule, error) {
	if o.RequestBody == nil {
		return nil, nil
	}
	content := o.RequestBody.Value.Content
	if o.Extensions[streamedExtension] == true {
		return &bodyRule{unread: true}, nil
	}
	if content[ndjson] != nil {
		rule := &bodyRule{mediaTypes: slices.Sorted(maps.Keys(content)), unread: true}
		more, _ := o.Extensions[moreTypesExtension].([]any)
		for _, mediaType := range more {
			if text, ok := mediaType.(string); ok {
				rule.mediaTypes = append(rule.mediaTypes, text)
			}
		}
		return rule, nil
	}
	const mediaType = "application/json"
	if content[mediaType] == nil {
		return nil, fmt.Errorf("%s: the body is not %s", o.OperationID, mediaType)
	}
	rule := &bodyRule{
		mediaTypes: []string{mediaType}, optional: !o.RequestBody.Value.Required,
		most: defaultBody, values: mostValues, schema: content[mediaType].Schema.Value,
	}
	rule.shape, rule.fit = shapeOf(rule.schema), fitOf(rule.schema)
	if v, there := o.Extensions[bodyExtension]; there {
		n, ok := wholeNumber(v)
		if !ok || n > maxBody {
			return nil, fmt.Errorf("%s: %s is not a number of bytes", o.OperationID, bodyExtension)
		}
		rule.most = n
	}
	if v, there := o.Extensions[bodyOfExtension]; there {
		n, ok := wholeNumber(v)
		if !ok {
			return nil, fmt.Errorf("%s: %s is not a number of bytes", o.OperationID, bodyOfExtension)
		}
		rule.most = min(maxBody, rule.most+n*maxMessage)
		rule.message = maxMessage
		// Body and ext together have at most maxMessage bytes, and so does push. A value takes two
		// bytes or more, with its comma.
		rule.values += maxMessage
	}
	return rule, nil
}

// wholeNumber reads a number of the OpenAPI document that is an integer of at least 1.
func wholeNumber(v any) (int, bool) {
	n, ok := v.(float64)
	return int(n), ok && n >= 1 && n <= math.MaxInt32 && n == math.Trunc(n)
}

// isEncoded reports whether a body is compressed, or encoded in another way.
func isEncoded(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// unsupported returns the problem of a body that the operation cannot read because of a header.
func unsupported(header, detail string) api.Problem {
	p := problem(http.StatusUnsupportedMediaType, "unsupported_media_type", detail)
	p.Field = &header
	return p
}

// readBody reads a body. It returns nil if the operation has none, if the body is optional
// and missing, or if the operation reads it itself.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, rule *bodyRule) ([]byte, *api.Problem) {
	if rule == nil || rule.unread && rule.mediaTypes == nil || rule.optional && r.ContentLength == 0 {
		return nil, nil
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || !slices.Contains(rule.mediaTypes, mediaType) {
		p := unsupported("Content-Type", "the body must be "+strings.Join(rule.mediaTypes, " or "))
		return nil, &p
	}
	if rule.unread {
		return nil, nil
	}
	refuse := func(p api.Problem) ([]byte, *api.Problem) {
		// The rest of the body stays unread, so the connection cannot serve another
		// request.
		w.Header().Set("Connection", "close")
		return nil, &p
	}
	if r.ContentLength > int64(rule.most) {
		return refuse(bodyTooLarge("is over %d bytes", rule.most))
	}
	body, err := s.bodies.read(http.MaxBytesReader(w, r.Body, int64(rule.most)), principal(r.Context()).User, int(r.ContentLength))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(bodyTooLarge("is over %d bytes", rule.most))
	case errors.Is(err, errOverloaded):
		return refuse(s.problemFor(r.Context(), err))
	case err != nil:
		p := problem(http.StatusBadRequest, "malformed_json", "the body could not be read to its end")
		return nil, &p
	}
	return body, nil
}

func bodyTooLarge(format string, args ...any) api.Problem {
	return problem(http.StatusRequestEntityTooLarge, "body_too_large", "the request body "+fmt.Sprintf(format, args...))
}

// scan returns the value of a body. It refuses one that is malformed or too large for the
// operation.
func (rule *bodyRule) scan(body []byte) (jsonscan.Value, error) {
	found := jsonscan.Scan(body, rule.values)
	switch {
	case found.Fault != "":
		return found.Value, im.Refuse(im.Invalid, "malformed_json", "the body %s", found.Fault)
	case found.Values > rule.values:
		return found.Value, im.Refuse(im.TooLarge, "body_too_large", "the request body holds over %d values", rule.values)
	}
	if rule.message == 0 || 2*len(body) <= rule.message || found.Value.Kind() != '{' { // canonical JSON has at most twice as many bytes
		return found.Value, nil
	}
	size := func(member string) int {
		v := found.Value.Member(member)
		if v.IsCanonical() {
			return len(v.JSON())
		}
		return im.CanonicalSize(v.JSON())
	}
	return found.Value, im.CheckSize(size("body"), size("ext"), size("push"), rule.message)
}

// validate checks a scanned body against the OpenAPI document.
func (rule *bodyRule) validate(body jsonscan.Value) *api.Problem {
	if rule.fit.accepts(body) {
		return nil
	}
	return rule.refuse(body.JSON())
}

// refuse checks a body with the validator, which names what does not fit. It returns nil if the
// body fits.
func (rule *bodyRule) refuse(body []byte) *api.Problem {
	text, err := outline(body, rule.shape)
	if long, ok := errors.AsType[*tooLong](err); ok {
		p := invalidField(long.field, long.Error())
		return &p
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a float would round seqs
	var v any
	if err = d.Decode(&v); err == nil {
		err = rule.schema.VisitJSON(v, openapi3.VisitAsRequest())
	}
	if err != nil {
		p := describe(&openapi3filter.RequestError{Err: err})
		return &p
	}
	return nil
}
