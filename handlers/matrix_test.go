package handlers_test

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/storage"
)

// The tables in testdata/matrix say who may do what: one for each kind of conversation,
// with a row for each operation of the OpenAPI document and a column for each relation that
// a user can have to the conversation. See README.md there.

//go:embed testdata/matrix
var matrixFiles embed.FS

// matrices are the kinds of conversations with tables, by what a request names. Deleted
// conversations and those that never existed share a table.
var matrices = []struct{ kind, table, names string }{
	{"direct", "direct", "conversation"},
	{"group", "group", "conversation"},
	{"room", "room", "conversation"},
	{"group thread", "group-thread", "conversation"},
	{"channel", "channel", "conversation"},
	{"channel thread", "channel-thread", "conversation"},
	{"private channel", "private-channel", "conversation"},
	{"private thread", "private-thread", "conversation"},
	{"deleted group", "gone", "conversation"},
	{"thread of a deleted group", "gone", "conversation"},
	{"deleted channel", "gone", "conversation"},
	{"channel of a deleted space", "gone", "conversation"},
	{"thread in a deleted space", "gone", "conversation"},
	{"space as a conversation", "gone", "conversation"},
	{"space", "space", "space"},
	{"deleted space", "gone-space", "space"},
	{"channel as a space", "gone-space", "space"},
	{"data stream", "data-stream", "stream"},
	{"listed data stream", "listed-stream", "stream"},
	{"nothing", "elsewhere", "nothing"},
}

// matrixHeaders are headers that the requests of a table have.
var matrixHeaders = map[string][]string{
	"importMessages": {"Content-Type", "application/x-ndjson"},
	"getEvents":      {"Accept", "application/json"},
}

// operation is an operation of the document.
type operation struct {
	id, method, path string
	// names is the kind of thing that its request names: "conversation", "space", "stream" or
	// "nothing".
	names string
}

// operations returns the operations of the document by their ids.
func operations() map[string]operation {
	spec := contract()
	out := make(map[string]operation)
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			out[o.OperationID] = operation{o.OperationID, method, path, namedBy(item, o)}
		}
	}
	return out
}

// namedBy returns what a request names, by its path, query or body.
func namedBy(item *openapi3.PathItem, o *openapi3.Operation) string {
	names := make(map[string]bool)
	for _, list := range []openapi3.Parameters{item.Parameters, o.Parameters} {
		for _, p := range list {
			if p.Value.In != openapi3.ParameterInHeader {
				names[p.Value.Name] = true
			}
		}
	}
	if o.RequestBody != nil {
		for _, content := range o.RequestBody.Value.Content {
			addProperties(names, content.Schema.Value)
		}
	}
	switch {
	case names["stream"]:
		return "stream"
	case names["space"] || names["space_id"]:
		return "space"
	case names["conversation"] || names["conversation_id"] || names["message"] || names["message_ids"] || names["ids"] || names["attachment"]:
		return "conversation"
	default:
		return "nothing"
	}
}

// addProperties adds the properties of a schema of any shape.
func addProperties(names map[string]bool, s *openapi3.Schema) {
	for name := range s.Properties {
		names[name] = true
	}
	for _, list := range []openapi3.SchemaRefs{s.OneOf, s.AnyOf, s.AllOf} {
		for _, one := range list {
			addProperties(names, one.Value)
		}
	}
}

// unknown returns the code with which an operation refuses a thing that does not exist.
func (o operation) unknown() string {
	switch {
	case strings.Contains(o.path, "{message}") || o.id == "revokeMessages":
		return "message_not_found"
	case strings.Contains(o.path, "{attachment}"):
		return "attachment_not_found"
	case o.names == "space":
		return "space_not_found"
	case o.names == "stream":
		return "stream_not_found"
	default:
		return "conversation_not_found"
	}
}

// request is the request of a row, with names of a scene in braces.
type request struct {
	params map[string]string
	query  string
	body   string
	// before is another row whose request comes first, and its actor.
	before, beforeAs string
}

// lines returns the lines of a file, split into words.
func lines(t testing.TB, name string) [][]string {
	t.Helper()
	b, err := matrixFiles.ReadFile("testdata/matrix/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			out = append(out, words)
		}
	}
	return out
}

// requests reads the requests that consist of more than a path.
func requests(t testing.TB) map[string]request {
	t.Helper()
	out := make(map[string]request)
	for _, words := range lines(t, "requests") {
		name, words := words[0], words[1:]
		if len(words) > 0 && !strings.ContainsAny(words[0], "={?") {
			name += " " + words[0]
			words = words[1:]
		}
		if _, twice := out[name]; twice {
			t.Errorf("requests: %s is there twice", name)
		}
		r := request{params: make(map[string]string)}
		for i, word := range words {
			if strings.HasPrefix(word, "{") {
				r.body = strings.Join(words[i:], " ")
				break
			}
			key, value, _ := strings.Cut(word, "=")
			switch {
			case word[0] == '?':
				r.query = word
			case key == "before":
				as, row, _ := strings.Cut(value, ":")
				r.beforeAs, r.before = as, strings.Replace(row, ".", " ", 1)
			default:
				r.params[key] = value
			}
		}
		out[name] = r
	}
	return out
}

// matrix is a table.
type matrix struct {
	columns []string
	rows    []matrixRow
}

type matrixRow struct {
	// name is the name of the operation, for some with that of a variant.
	name  string
	cells []string
}

func (r matrixRow) operation() string {
	id, _, _ := strings.Cut(r.name, " ")
	return id
}

func readMatrix(t testing.TB, name string) matrix {
	t.Helper()
	var m matrix
	for _, words := range lines(t, name) {
		if m.columns == nil {
			m.columns = words[1:]
			continue
		}
		n := len(words) - len(m.columns)
		if n != 1 && n != 2 {
			t.Fatalf("%s: the row %v does not have %d cells", name, words, len(m.columns))
		}
		m.rows = append(m.rows, matrixRow{strings.Join(words[:n], " "), words[n:]})
	}
	return m
}

// TestMatrixIsComplete checks that each operation of the OpenAPI document is in the table of each
// kind that it can name, and that the tables have nothing else.
func TestMatrixIsComplete(t *testing.T) {
	known, asked := operations(), requests(t)
	used := make(map[string]bool)
	checked := make(map[string]bool)
	for _, of := range matrices {
		if checked[of.table] {
			continue
		}
		checked[of.table] = true
		rows, there := make(map[string]bool), make(map[string]bool)
		for _, row := range readMatrix(t, of.table).rows {
			if rows[row.name] {
				t.Errorf("%s: %s is there twice", of.table, row.name)
			}
			rows[row.name], there[row.operation()], used[row.name] = true, true, true
			used[asked[row.name].before] = true
			if _, ok := known[row.operation()]; !ok {
				t.Errorf("%s: the document has no operation %s", of.table, row.operation())
			}
			if _, ok := asked[row.name]; !ok && row.name != row.operation() {
				t.Errorf("%s: there is no request %s", of.table, row.name)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(known)) {
			if known[id].names == of.names && !there[id] {
				t.Errorf("%s: %s is missing from the table", of.table, id)
			}
		}
	}
	for name := range asked {
		if !used[name] {
			t.Errorf("requests: no table has %s", name)
		}
	}
}

// TestMatrix makes every request as every actor. A refused request must change nothing.
func TestMatrix(t *testing.T) {
	known, asked := operations(), requests(t)
	var unknown sync.Map
	for _, of := range matrices {
		t.Run(of.kind, func(t *testing.T) {
			t.Parallel()
			w := newWorldIn(t, storage.Options{DataDir: t.TempDir(), Synchronous: "normal"})
			m := readMatrix(t, of.table)
			run := matrixRun{world: w, known: known, asked: asked, unknown: &unknown, kind: of.kind}
			// A short run tries every seventh cell, some in each row and each column.
			step := testsize.Pick(1, min(7, len(m.columns)))
			for n, row := range m.rows {
				for i := n % step; i < len(row.cells); i += step {
					run.cell(row, m.columns[i], row.cells[i])
				}
			}
		})
	}
}

// matrixRun is the run of one table. It uses a scene until a request has changed it.
type matrixRun struct {
	*world
	known map[string]operation
	asked map[string]request
	// unknown has the answer of each operation for a thing that does not exist, which must be the
	// same as for a thing that the actor may not see.
	unknown *sync.Map
	kind    string
	scene   *matrixScene
	made    int
}

// cell makes the request of a row as the actor of a column.
func (r *matrixRun) cell(row matrixRow, column, want string) {
	r.t.Helper()
	if r.scene == nil {
		r.made++
		r.scene = newMatrixScene(r.world, r.kind, r.made)
	}
	before := r.asked[row.name]
	if before.before != "" {
		if o, a := r.do(before.before, before.beforeAs); a.status >= http.StatusMultipleChoices {
			r.t.Fatalf("%s: %s as %s, before %s: %s\n%s", r.kind, before.before, before.beforeAs, row.name, o.short(a), a.body)
		}
	}
	head := r.scene.head()
	o, a := r.do(row.name, column)
	got := o.short(a)
	if got != want {
		r.t.Errorf("%s: %s as %s: %s, want %s\n%s", r.kind, row.name, column, got, want, a.body)
	}
	if got == "404" && a.status == http.StatusNotFound {
		if first, _ := r.unknown.LoadOrStore(o.id, string(a.body)); first != string(a.body) {
			r.t.Errorf("%s: %s as %s: the 404 differs from that of an unknown id: %s", r.kind, row.name, column, a.body)
		}
	}
	changed, refused := r.scene.head() != head, got >= "400"
	if changed && (refused || o.method == http.MethodGet) {
		r.t.Errorf("%s: %s as %s: %s, but something has changed", r.kind, row.name, column, got)
	}
	if changed || !refused && o.method != http.MethodGet || before.before != "" {
		r.scene = nil
	}
}

// do sends the request of a row.
func (r *matrixRun) do(row, column string) (operation, answer) {
	r.t.Helper()
	id, _, _ := strings.Cut(row, " ")
	o, ask := r.known[id], r.asked[row]
	fill := func(text string) string {
		return placeholders.ReplaceAllStringFunc(text, func(name string) string {
			return r.scene.name(column, name[1:len(name)-1])
		})
	}
	path := placeholders.ReplaceAllStringFunc(o.path, func(name string) string {
		name = name[1 : len(name)-1]
		return url.PathEscape(fill(cmp.Or(ask.params[name], "{"+name+"}")))
	})
	header := slices.Clone(matrixHeaders[id])
	if token := r.scene.token(column); token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return o, r.world.do("", o.method, path+fill(ask.query), fill(ask.body), header...)
}

var (
	placeholders = regexp.MustCompile(`\{[a-z0-9-]+\}`)
	needed       = regexp.MustCompile(`^you need the permission ([a-z_]+) here`)
)

// short formats an answer as in a table.
func (o operation) short(a answer) string {
	var p struct {
		Status int
		Code   string
		Detail string
		Items  []json.RawMessage
		// Problem is the problem of a result.
		Problem json.RawMessage
	}
	body := a.body
	_ = json.Unmarshal(body, &p) // without JSON there is no code
	if a.status < http.StatusMultipleChoices {
		switch o.id {
		case "revokeMessages": // the result for the only message
			body = p.Items[0]
			fallthrough
		case "importMessages": // for the only line
			_ = json.Unmarshal(body, &p)
		case "sendMessagesAs": // for the only target
			_ = json.Unmarshal(p.Items[0], &p)
			_ = json.Unmarshal(p.Problem, &p) // a success has none
		default:
			return fmt.Sprint(a.status)
		}
		a.status = p.Status
	}
	missing := needed.FindStringSubmatch(p.Detail)
	switch {
	case p.Code == "" || a.status == http.StatusNotFound && p.Code == o.unknown():
		return fmt.Sprint(a.status)
	case p.Code == "permission_denied" && missing != nil:
		return "403:" + missing[1]
	case p.Code == "permission_denied" && (strings.Contains(p.Detail, "below yours") || strings.Contains(p.Detail, "below your highest")):
		return "403:below"
	default:
		return fmt.Sprintf("%d:%s", a.status, p.Code)
	}
}

// matrixScene is a conversation or space with a user in each relation to it. The users have
// the names of the columns.
type matrixScene struct {
	*world
	ctx context.Context
	n   int
	// names has the names that requests use, by column, and under "" for all columns.
	names map[string]map[string]string
}

func newMatrixScene(w *world, kind string, n int) *matrixScene {
	w.t.Helper()
	s := &matrixScene{world: w, ctx: context.Background(), n: n, names: make(map[string]map[string]string)}
	s.call("", "role", im.ID(1)) // a role that does not exist, for scenes without roles
	scenes[kind](s)
	return s
}

// user returns the user with a name in this scene. Scenes share no users.
func (s *matrixScene) user(name string) im.UserID {
	return im.UserID(fmt.Sprintf("%s-%d", name, s.n))
}

func (s *matrixScene) users(names ...string) []im.UserID {
	out := make([]im.UserID, len(names))
	for i, name := range names {
		out[i] = s.user(name)
	}
	return out
}

func (s *matrixScene) as(name string) im.Actor { return im.Actor{User: s.user(name)} }

func (s *matrixScene) token(column string) string {
	if column == "no-token" {
		return ""
	}
	return mint(s.t, auth.Grant{User: s.user(column), Admin: column == "server-admin"}, time.Minute)
}

// name returns what a name in a request of this actor stands for: a thing of the scene, or a user.
func (s *matrixScene) name(column, name string) string {
	s.t.Helper()
	for _, list := range []string{column, ""} {
		if thing, ok := s.names[list][name]; ok {
			return thing
		}
	}
	switch name {
	case "me":
		return string(s.user(column))
	case "own", "stale": // an actor without a message of their own uses another user's
		return s.name(column, "message")
	default:
		return string(s.user(name))
	}
}

// call names a thing, for one column or, with "", for all.
func (s *matrixScene) call(column, name string, thing fmt.Stringer) {
	if s.names[column] == nil {
		s.names[column] = make(map[string]string)
	}
	s.names[column][name] = thing.String()
}

// head returns the position of the last event.
func (s *matrixScene) head() im.Position {
	s.t.Helper()
	var bounds im.LogBounds
	s.ok(s.store.View(s.ctx, func(r im.Reader) (err error) {
		bounds, err = r.LogBounds()
		return err
	}))
	return bounds.Head
}

func (s *matrixScene) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
