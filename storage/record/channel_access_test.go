package record_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func ExampleAccess() {
	data, err := record.Access(im.ChannelAccess{Private: true, Overrides: []im.Override{
		{Role: 7, Grants: im.Grants{Allow: im.PermissionView}},
	}})
	fmt.Printf("%s %v\n", data, err)
	fmt.Println(record.AccessNames(data, []im.ID{6}), record.AccessNames(data, []im.ID{6, 7}))
	// Output:
	// {"private":true,"overrides":[{"role":7,"allow":1}]} <nil>
	// false true
}

func TestAccessComesBack(t *testing.T) {
	for _, want := range []im.ChannelAccess{
		{},
		{Private: true},
		{Overrides: []im.Override{
			{Role: im.Everyone, Grants: im.Grants{Deny: im.PermissionView}},
			{Role: math.MaxInt64, Grants: im.Grants{Allow: math.MaxUint32, Deny: 2}},
			{Role: 3},
		}},
	} {
		data, err := record.Access(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := record.ReadAccess(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %s came %+v, %v, not %+v", data, got, err, want)
		}
		for _, o := range want.Overrides {
			if !record.AccessNames(data, []im.ID{o.Role}) {
				t.Errorf("%s is said not to name %d", data, o.Role)
			}
		}
		if record.AccessNames(data, []im.ID{12345}) || record.AccessNames(data, nil) {
			t.Errorf("%s is said to name what it does not", data)
		}
	}
}

// FuzzReadAccess: whatever a row holds is read or refused, and what was read is written
// and read again as it was, and is found by each role that it names.
func FuzzReadAccess(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"private":true}`, `{"overrides":[{"role":0,"deny":1},{"role":7,"allow":4294967295}]}`, `null`, `[]`, ``,
		`{"overrides":[]}`, `{"overrides":[{"role":-1,"allow":-1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, err := record.ReadAccess(data)
		if err != nil {
			return
		}
		again, err := record.Access(want)
		if err != nil {
			t.Fatalf("%+v was read from %q, and cannot be written: %v", want, data, err)
		}
		if got, err := record.ReadAccess(again); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %q came %+v and from %q %+v, %v", data, want, again, got, err)
		}
		for _, o := range want.Overrides {
			if !record.AccessNames(again, []im.ID{o.Role}) {
				t.Errorf("%q is said not to name %d", again, o.Role)
			}
		}
	})
}
