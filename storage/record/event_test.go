package record_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func ExampleEvent() {
	data, err := record.Event(im.Event{Type: im.ReceiptRead, UpTo: 7, Unread: &im.UnreadCount{Messages: 2}})
	fmt.Printf("%s %v\n", data, err)
	data, err = record.Event(im.Event{Type: im.MessageCreated, MessageID: 7, Seq: 1})
	fmt.Println(data == nil, err)
	// Output:
	// {"up_to":7,"unread":{"messages":2}} <nil>
	// true <nil>
}

// elsewhere are the fields of an event that are columns, and those that are never stored.
var elsewhere = map[string]bool{
	"Position": true, "Type": true, "At": true, "Conversation": true, "To": true, "MessageID": true, "Seq": true,
	"Actor": true, "ActorDevice": true, "User": true, "Role": true,

	"Push": true, "Mentioned": true, "MentionedAll": true, "Gone": true, "HiddenBy": true, "Tracked": true,
	"Late": true, "Message": true,
}

// TestEventKeepsEveryField: each field alone, and all of them together, come back as they
// were; a new field of an event has to be kept, or named above.
func TestEventKeepsEveryField(t *testing.T) {
	full := im.Event{
		MessageIDs: []im.ID{1, 1 << 62}, UpTo: 2, BurnAt: at(3), UpToSeq: 4, Before: at(-5), FirstSeq: 6,
		Unread: &im.UnreadCount{Messages: 7, More: true, Mentions: 8}, Own: &im.OwnSettings{Pinned: true, Muted: true},
		Space: 9, Thread: 10, Root: 11, Activity: &im.Activity{Messages: 12, At: at(13), Since: at(14)},
		RoleID: 15, MutedUntil: im.MutedForGood,
	}
	of := reflect.TypeFor[im.Event]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		value := reflect.ValueOf(full).Field(i)
		if elsewhere[name] {
			continue
		}
		if value.IsZero() {
			t.Errorf("%s is not tested", name)
			continue
		}
		var one im.Event
		reflect.ValueOf(&one).Elem().Field(i).Set(value)
		roundTrip(t, name, one)
	}
	roundTrip(t, "all", full)
	roundTrip(t, "what is zero but not missing", im.Event{
		Unread: &im.UnreadCount{}, Own: &im.OwnSettings{}, Activity: &im.Activity{},
	})
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func roundTrip(t *testing.T, name string, want im.Event) {
	t.Helper()
	data, err := record.Event(want)
	if err != nil || data == nil {
		t.Errorf("%s: %q, %v", name, data, err)
		return
	}
	var got im.Event
	if err := record.ReadEvent(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: from %s came\n%+v, %v\nnot\n%+v", name, data, got, err, want)
	}
}

// FuzzReadEvent: whatever a row holds is read or refused, and what was read is written
// and read again as it was.
func FuzzReadEvent(f *testing.F) {
	for _, seed := range []string{
		`{"message_ids":[1,2],"up_to":3}`, `{"burn_at":-62135596800000,"before":1}`, `{"unread":{"messages":1,"more":true}}`,
		`{"own":{"pinned":true,"muted":false},"activity":{"messages":1,"at":2,"since":3}}`,
		`{"space":1,"thread":2,"root":3,"role":4,"muted_until":9223372036854775807}`, `{}`, `null`, `[]`, ``, `{"message_ids":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e im.Event
		if record.ReadEvent(data, &e) != nil {
			return
		}
		again, err := record.Event(e)
		if err != nil {
			t.Fatalf("%+v was read from %q, and cannot be written: %v", e, data, err)
		}
		var got im.Event
		if again != nil {
			if err := record.ReadEvent(again, &got); err != nil {
				t.Fatalf("%q was written and cannot be read: %v", again, err)
			}
		}
		if len(e.MessageIDs) == 0 {
			e.MessageIDs = nil
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("from %q came\n%+v\nand from %q\n%+v", data, e, again, got)
		}
	})
}
