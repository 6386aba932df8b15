package record_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

var events = codec[im.Event]{
	encode: record.Event,
	decode: func(data []byte) (e im.Event, err error) {
		if data != nil {
			err = record.ReadEvent(data, &e)
		}
		return e, err
	},
}

func ExampleEvent() {
	data, err := record.Event(im.Event{Type: im.ReceiptRead, UpTo: 7, Unread: &im.UnreadCount{Messages: 2}})
	fmt.Printf("%s %v\n", data, err)
	data, err = record.Event(im.Event{Type: im.MessageCreated, MessageID: 7, Seq: 1})
	fmt.Println(data == nil, err)
	// Output:
	// {"up_to":7,"unread":{"messages":2}} <nil>
	// true <nil>
}

// notEncoded are the fields of an event that have a column of their own, and those that
// are never stored.
var notEncoded = map[string]bool{
	"Position": true, "Type": true, "At": true, "Conversation": true, "To": true, "MessageID": true, "Seq": true,
	"Actor": true, "ActorDevice": true, "User": true, "Role": true,

	"Push": true, "Mentioned": true, "MentionedAll": true, "Gone": true, "HiddenBy": true, "Tracked": true,
	"Late": true, "Message": true,
}

// TestEventRoundTrip encodes each field by itself and all of them together. It fails for a new
// field of im.Event that is neither set here nor listed in notEncoded.
func TestEventRoundTrip(t *testing.T) {
	full := im.Event{
		MessageIDs: []im.ID{1, 1 << 62}, UpTo: 2, BurnAt: at(3), UpToSeq: 4, Before: at(-5), FirstSeq: 6,
		Unread: &im.UnreadCount{Messages: 7, More: true, Mentions: 8}, Own: &im.OwnSettings{Pinned: true, Muted: true},
		Space: 9, Thread: 10, Root: 11, Activity: &im.Activity{Messages: 12, At: at(13), Since: at(14)},
		RoleID: 15, MutedUntil: im.MutedForGood, Webhook: 16, Reason: im.WebhookRestored, After: 17,
	}
	encoded := func(name string, e im.Event) {
		t.Run(name, func(t *testing.T) {
			if data := events.roundTrip(t, e); data == nil {
				t.Error("the event was encoded as nil")
			}
		})
	}
	of := reflect.TypeFor[im.Event]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		value := reflect.ValueOf(full).Field(i)
		if notEncoded[name] {
			continue
		}
		if value.IsZero() {
			t.Errorf("%s is not tested", name)
			continue
		}
		var one im.Event
		reflect.ValueOf(&one).Elem().Field(i).Set(value)
		encoded(name, one)
	}
	encoded("all fields", full)
	encoded("pointers to zero values", im.Event{
		Unread: &im.UnreadCount{}, Own: &im.OwnSettings{}, Activity: &im.Activity{},
	})
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func FuzzReadEvent(f *testing.F) {
	for _, seed := range []string{
		`{"message_ids":[1,2],"up_to":3}`, `{"burn_at":-62135596800000,"before":1}`, `{"unread":{"messages":1,"more":true}}`,
		`{"own":{"pinned":true,"muted":false},"activity":{"messages":1,"at":2,"since":3}}`,
		`{"space":1,"thread":2,"root":3,"role":4,"muted_until":9223372036854775807}`, `{}`, `null`, `[]`, ``, `{"message_ids":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { events.fuzz(t, data, nil, cmpopts.EquateEmpty()) })
}
