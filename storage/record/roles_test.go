package record_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

var roles = codec[im.RoleSet]{encode: record.Roles, decode: record.ReadRoles}

func ExampleRoles() {
	data, err := record.Roles(im.RoleSet{
		{ID: 7, Grants: im.Grants{Allow: im.PermissionView}},
		{ID: im.Everyone, Grants: im.Grants{Deny: im.PermissionView}},
	})
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// [{"id":7,"allow":1},{"id":0,"deny":1}] <nil>
}

func TestRolesRoundTrip(t *testing.T) {
	for name, set := range map[string]im.RoleSet{
		"no roles":     nil,
		"one role":     {{ID: im.Everyone}},
		"extreme bits": {{ID: math.MaxInt64, Grants: im.Grants{Allow: math.MaxUint32}}, {ID: math.MinInt64, Grants: im.Grants{Deny: 3, Allow: 4}}, {ID: im.Everyone}},
	} {
		t.Run(name, func(t *testing.T) { roles.roundTrip(t, set) })
	}
}

// TestRolesHoldNoText checks that the record of a role, which is rewritten with every
// change and is not sealed, has no field for text.
func TestRolesHoldNoText(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[im.SpaceRole]()) {
		if k := f.Type.Kind(); k != reflect.Int64 && k != reflect.Uint32 && !f.Anonymous {
			t.Errorf("%s is a %v", f.Name, f.Type)
		}
	}
}

func FuzzReadRoles(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"id":7,"allow":1},{"id":0,"deny":4294967295}]`, `null`, `{}`, ``, `[{"id":-1,"allow":-1}]`, `[null]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { roles.fuzz(t, data, nil) })
}
