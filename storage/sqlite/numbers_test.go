package sqlite

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func TestNumbers(t *testing.T) {
	for name, test := range map[string]struct {
		sql string
		is  any
	}{
		"lasting": {sqlLasting, int64(stillOpen)}, "latest": {sqlLasting, int64(im.Latest)},
		"group": {sqlGroup, uint8(im.Group)}, "room": {sqlRoom, uint8(im.Room)}, "thread": {sqlThread, uint8(im.Thread)},
		"channel": {sqlChannel, uint8(im.Channel)}, "space": {sqlSpace, uint8(im.Space)},
		"active": {sqlActive, uint8(im.Active)}, "text": {sqlText, uint8(im.Text)}, "owner": {sqlOwner, uint8(im.Owner)},
		"read": {sqlRead, uint8(im.Read)}, "hidden": {sqlHidden, uint8(record.Hidden)},
		"allow list": {sqlAllowList, uint8(im.AllowList)}, "deny list": {sqlDenyList, uint8(im.DenyList)},
	} {
		if is := fmt.Sprint(test.is); is != test.sql {
			t.Errorf("%s is %s, statements say %s", name, is, test.sql)
		}
	}
	// The list of conversations has those of a kind up to the room.
	for _, kind := range []im.Kind{im.Direct, im.Group, im.Room, im.Thread, im.Channel, im.Space} {
		listed := kind == im.Direct || kind == im.Group || kind == im.Room
		if listed != (kind <= im.Room) {
			t.Errorf("a %v is listed: %t", kind, !listed)
		}
	}
}
