package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
)

// TestProblemCodesAndStatusesAgree compares the lists of codes: the enumeration and the
// table have the same codes; an operation has responses for the statuses of its codes, and
// codes for those of its responses that list none.
func TestProblemCodesAndStatusesAgree(t *testing.T) {
	spec := contract()
	statuses := statusOfCode()
	for _, code := range spec.Components.Schemas["ProblemCode"].Value.Enum {
		if statuses[code.(string)] == 0 {
			t.Errorf("the table does not have the code %s", code)
		}
	}
	if enum := spec.Components.Schemas["ProblemCode"].Value.Enum; len(enum) != len(statuses) {
		t.Errorf("%d codes are listed, and %d in the table", len(enum), len(statuses))
	}
	listed := map[string]bool{"method_not_allowed": true} // belongs to no operation
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			has := make(map[int]bool)
			for _, code := range problemCodes(o.Extensions) {
				listed[code] = true
				has[statuses[code]] = true
				if o.Responses.Status(statuses[code]) == nil {
					t.Errorf("%s %s lists %s, and no response %d", method, path, code, statuses[code])
				}
			}
			for status, response := range o.Responses.Map() {
				own := problemCodes(response.Value.Extensions)
				for _, code := range own {
					listed[code] = true
					if status != strconv.Itoa(statuses[code]) {
						t.Errorf("%s %s: %s is listed under %s", method, path, code, status)
					}
				}
				if n, _ := strconv.Atoi(status); n >= http.StatusBadRequest && len(own) == 0 && !has[n] {
					t.Errorf("%s %s has a response %s, and no code for it", method, path, status)
				}
			}
			if o.Responses.Status(http.StatusInternalServerError) == nil {
				t.Errorf("%s %s does not document a fault of the server", method, path)
			}
		}
	}
	for code := range statuses {
		if !listed[code] {
			t.Errorf("no operation lists %s", code)
		}
	}
}

// TestExamplesFitTheirSchemas checks the examples of the OpenAPI document against its
// schemas.
func TestExamplesFitTheirSchemas(t *testing.T) {
	spec := wholeDocument()
	if err := spec.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

// stateNamed finds a state by its name; 0 is none.
func stateNamed(name string) im.State {
	for s := im.Active; s <= im.Expired; s++ {
		if s.String() == name {
			return s
		}
	}
	return 0
}

// TestEnumerationsAreThoseOfTheDomain checks that the OpenAPI document lists exactly the values of
// the domain.
func TestEnumerationsAreThoseOfTheDomain(t *testing.T) {
	spec := contract()
	for name, parse := range map[string]func(string) bool{
		"MessageType":     func(s string) bool { _, ok := im.ParseMessageType(s); return ok },
		"Kind":            func(s string) bool { _, ok := im.ParseKind(s); return ok },
		"Role":            func(s string) bool { _, ok := im.ParseRole(s); return ok },
		"History":         func(s string) bool { _, ok := im.ParseHistory(s); return ok },
		"JoinPolicy":      func(s string) bool { _, ok := im.ParseJoinPolicy(s); return ok },
		"InvitePolicy":    func(s string) bool { _, ok := im.ParseInvitePolicy(s); return ok },
		"ListedKind":      func(s string) bool { _, ok := im.ParseKind(s); return ok },
		"ListName":        func(s string) bool { _, ok := im.ParseList(s); return ok },
		"Permission":      func(s string) bool { _, ok := im.ParsePermission(s); return ok },
		"SpaceMemberRole": func(s string) bool { _, ok := im.ParseRole(s); return ok },
		"ReceiptKind":     func(s string) bool { _, ok := im.ParseReceiptKind(s); return ok },
		"MessageState": func(s string) bool {
			return slices.Contains([]im.State{im.Active, im.Revoked, im.Burned, im.Expired}, stateNamed(s))
		},
	} {
		values := spec.Components.Schemas[name].Value.Enum
		if len(values) == 0 {
			t.Errorf("%s lists nothing", name)
		}
		for _, v := range values {
			if !parse(v.(string)) {
				t.Errorf("%s: the domain does not know %q", name, v)
			}
		}
	}
	listed := spec.Components.Schemas["Permission"].Value.Enum
	for p := im.PermissionView; p.String() != ""; p <<= 1 {
		if !slices.Contains(listed, any(p.String())) {
			t.Errorf("Permission does not list %q", p)
		}
		_, asked := spec.Components.Schemas["Grants"].Value.Properties[p.String()]
		_, said := spec.Components.Schemas["GrantedPermissions"].Value.Properties[p.String()]
		if !asked || said != im.RolePermissions.Has(p) {
			t.Errorf("of the permission %s, in requests for roles: %t, in answers: %t", p, asked, said)
		}
	}
}

// transients are the events that are not in the log. They have no id.
var transients = []im.EventType{events.Command, events.StreamStarted, events.StreamEnded}

// TestEveryEventHasASchema checks that each event, in the log or not, has a schema with a
// discriminator, and that the one Go type for all of them has exactly their members.
func TestEveryEventHasASchema(t *testing.T) {
	spec := contract()
	event := spec.Components.Schemas["Event"].Value
	var want, got []string
	for _, e := range slices.Concat([]im.EventType{events.Ready, events.Reset}, transients, im.EventTypes) {
		want = append(want, string(e))
	}
	members := make(map[string]bool)
	for name, ref := range event.Discriminator.Mapping {
		got = append(got, name)
		schema := spec.Components.Schemas[path.Base(ref.Ref)].Value
		if enum := schema.Properties["type"].Value.Enum; len(enum) != 1 || enum[0] != name {
			t.Errorf("%s is for events of the types %v, and mapped for %q", ref.Ref, enum, name)
		}
		for _, always := range []string{"id", "type", "at"} {
			if slices.Contains(schema.Required, always) == (always == "id" && slices.Contains(transients, im.EventType(name))) {
				t.Errorf("%s requires %v", ref.Ref, schema.Required)
			}
		}
		for member := range schema.Properties {
			members[member] = true
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the document has schemas for\n%v\nthere are\n%v", got, want)
	}
	if len(event.OneOf) != len(want) {
		t.Errorf("an Event is one of %d, and there are %d", len(event.OneOf), len(want))
	}
	goType := reflect.TypeFor[api.Event]()
	for field := range goType.Fields() {
		member, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !members[member] {
			t.Errorf("no event has the member %q of api.Event", member)
		}
		delete(members, member)
	}
	for member := range members {
		t.Errorf("api.Event does not have the member %q", member)
	}
}

// TestEveryMemberIsDescribed checks that everything in the OpenAPI document has a description,
// which generators copy.
func TestEveryMemberIsDescribed(t *testing.T) {
	spec := wholeDocument()
	var walk func(at string, s *openapi3.Schema)
	walk = func(at string, s *openapi3.Schema) {
		for name, p := range s.Properties {
			at := at + "." + name
			if p.Value.Description == "" {
				t.Errorf("%s is not described", at)
			}
			if p.Ref == "" {
				walk(at, p.Value)
			}
		}
		if s.Items != nil && s.Items.Ref == "" {
			walk(at+"[]", s.Items.Value)
		}
	}
	for name, s := range spec.Components.Schemas {
		if s.Value.Description == "" {
			t.Errorf("%s is not described", name)
		}
		walk(name, s.Value)
	}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			if o.Summary == "" || o.Description == "" {
				t.Errorf("%s %s has no summary or no description", method, path)
			}
		}
	}
}

// TestRefusalsNameTheirCodes checks that the description of each refusal names every code of its
// status.
func TestRefusalsNameTheirCodes(t *testing.T) {
	spec := wholeDocument()
	want := make(map[int][]string)
	for code, status := range statusOfCode() {
		want[status] = append(want[status], code)
	}
	delete(want, http.StatusMethodNotAllowed) // no operation answers it
	quoted := regexp.MustCompile("`([a-z_]+)`")
	for name, response := range spec.Components.Responses {
		content := response.Value.Content["application/problem+json"]
		if content == nil {
			continue
		}
		var got []string
		for _, m := range quoted.FindAllStringSubmatch(*response.Value.Description, -1) {
			got = append(got, m[1])
		}
		example, _ := content.Example.(map[string]any)
		status := statusOfCode()[fmt.Sprint(example["code"])]
		slices.Sort(got)
		slices.Sort(want[status])
		if !slices.Equal(got, want[status]) {
			t.Errorf("%s names %v, the codes of %d are %v", name, got, status, want[status])
		}
		delete(want, status)
	}
	if len(want) > 0 {
		t.Errorf("no response names %v", want)
	}
}

// TestLastMessageIsAMessage checks that the preview of a conversation has the schema of a
// message. It is a copy, because it may be null.
func TestLastMessageIsAMessage(t *testing.T) {
	spec := wholeDocument()
	message, last := spec.Components.Schemas["Message"].Value, spec.Components.Schemas["LastMessage"].Value
	want, got := maps.Clone(message.Properties), last.Properties
	delete(want, "snippet") // only in results of a search
	if !reflect.DeepEqual(names(want), names(got)) || !slices.Equal(message.Required, last.Required) {
		t.Errorf("LastMessage has %v and requires %v, Message %v and %v", names(got), last.Required, names(want), message.Required)
	}
	for name, p := range want {
		a, _ := json.Marshal(p)
		b, _ := json.Marshal(got[name])
		if !bytes.Equal(a, b) {
			t.Errorf("%s: LastMessage says %s, Message %s", name, b, a)
		}
	}
	if !last.Nullable {
		t.Error("LastMessage cannot be null")
	}
}

func names(schemas openapi3.Schemas) []string { return slices.Sorted(maps.Keys(schemas)) }

// TestServedDocumentHasNoInternals checks that the served document is the file in the
// repository, and contains nothing that is only for our own generator.
func TestServedDocumentHasNoInternals(t *testing.T) {
	w := newWorld(t)
	served := w.do("", http.MethodGet, "/openapi.yaml", "").body
	if bytes.Contains(served, []byte("x-go")) || bytes.Contains(served, []byte("x-enum")) || bytes.Contains(served, []byte("x-oapi")) {
		t.Error("the document has names that are for our own generator")
	}
	file, err := os.ReadFile("../api/openapi.yaml")
	if err != nil || !bytes.Equal(served, file) {
		t.Errorf("what is served is not api/openapi.yaml: %v", err)
	}
	spec := contract()
	used := make(map[string]string)
	for kind, list := range map[string][]string{
		"schema":    slices.Collect(maps.Keys(spec.Components.Schemas)),
		"parameter": slices.Collect(maps.Keys(spec.Components.Parameters)),
		"response":  slices.Collect(maps.Keys(spec.Components.Responses)),
		"scheme":    slices.Collect(maps.Keys(spec.Components.SecuritySchemes)),
	} {
		for _, name := range list {
			// Generators put all schemas into one package and capitalize their names.
			if other, ok := used[strings.ToLower(name)]; ok {
				t.Errorf("%s is the name of a %s and of a %s", name, kind, other)
			}
			used[strings.ToLower(name)] = kind
		}
	}
}
