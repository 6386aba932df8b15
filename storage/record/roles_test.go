package record_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func ExampleRoles() {
	data, err := record.Roles(im.RoleSet{
		{ID: 7, Grants: im.Grants{Allow: im.PermissionView}},
		{ID: im.Everyone, Grants: im.Grants{Deny: im.PermissionView}},
	})
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// [{"id":7,"allow":1},{"id":0,"deny":1}] <nil>
}

func TestRolesComeBack(t *testing.T) {
	for _, want := range []im.RoleSet{
		nil,
		{{ID: im.Everyone}},
		{{ID: math.MaxInt64, Grants: im.Grants{Allow: math.MaxUint32}}, {ID: math.MinInt64, Grants: im.Grants{Deny: 3, Allow: 4}}, {ID: im.Everyone}},
	} {
		data, err := record.Roles(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := record.ReadRoles(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %s came %+v, %v, not %+v", data, got, err, want)
		}
	}
	// What is stored with each change of the roles holds no text.
	for _, f := range reflect.VisibleFields(reflect.TypeFor[im.SpaceRole]()) {
		if k := f.Type.Kind(); k != reflect.Int64 && k != reflect.Uint32 && !f.Anonymous {
			t.Errorf("%s is a %v", f.Name, f.Type)
		}
	}
}

// FuzzReadRoles: whatever a row holds is read or refused, and what was read is written and
// read again as it was.
func FuzzReadRoles(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"id":7,"allow":1},{"id":0,"deny":4294967295}]`, `null`, `{}`, ``, `[{"id":-1,"allow":-1}]`, `[null]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, err := record.ReadRoles(data)
		if err != nil {
			return
		}
		again, err := record.Roles(want)
		if err != nil {
			t.Fatalf("%+v was read from %q, and cannot be written: %v", want, data, err)
		}
		if got, err := record.ReadRoles(again); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %q came %+v and from %q %+v, %v", data, want, again, got, err)
		}
	})
}
