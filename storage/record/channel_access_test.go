package record_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

var channelAccess = codec[im.ChannelAccess]{encode: record.ChannelAccess, decode: record.ReadChannelAccess}

func ExampleChannelAccess() {
	data, err := record.ChannelAccess(im.ChannelAccess{Private: true, Overrides: []im.Override{
		{Role: 7, Grants: im.Grants{Allow: im.PermissionView}},
	}})
	fmt.Printf("%s %v\n", data, err)
	fmt.Println(record.MayOverride(data, []im.ID{6}), record.MayOverride(data, []im.ID{6, 7}))
	// Output:
	// {"private":true,"overrides":[{"role":7,"allow":1}]} <nil>
	// false true
}

func TestChannelAccessRoundTrip(t *testing.T) {
	for name, access := range map[string]im.ChannelAccess{
		"public":  {},
		"private": {Private: true},
		"overrides": {Overrides: []im.Override{
			{Role: im.Everyone, Grants: im.Grants{Deny: im.PermissionView}},
			{Role: math.MaxInt64, Grants: im.Grants{Allow: math.MaxUint32, Deny: 2}},
			{Role: 3},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			data := channelAccess.roundTrip(t, access)
			checkMayOverride(t, access, data)
			if record.MayOverride(data, []im.ID{12345}) || record.MayOverride(data, nil) {
				t.Errorf("MayOverride finds a role in %s that has no override there", data)
			}
		})
	}
}

// checkMayOverride checks that MayOverride finds every role with an override.
func checkMayOverride(t *testing.T, access im.ChannelAccess, data []byte) {
	t.Helper()
	for _, o := range access.Overrides {
		if !record.MayOverride(data, []im.ID{o.Role}) {
			t.Errorf("MayOverride does not find role %d in %s", o.Role, data)
		}
	}
}

func FuzzReadChannelAccess(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"private":true}`, `{"overrides":[{"role":0,"deny":1},{"role":7,"allow":4294967295}]}`, `null`, `[]`, ``,
		`{"overrides":[]}`, `{"overrides":[{"role":-1,"allow":-1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(access im.ChannelAccess, encoded []byte) { checkMayOverride(t, access, encoded) }
		channelAccess.fuzz(t, data, check)
	})
}
