package im_test

import (
	"testing"

	"github.com/imapi/imapi/im"
)

// TestOfMessages lists for every type of event whether retention trims it; a new type has to be
// added.
func TestOfMessages(t *testing.T) {
	goes := map[im.EventType]bool{
		im.MessageCreated: true, im.MessageRevoked: true, im.MessageBurnStarted: true, im.MessageBurned: true,
		im.MessageExpired: true, im.MessageHidden: true, im.ReceiptDelivered: true, im.ReceiptRead: true,

		im.UnreadChanged:       false,
		im.ConversationCreated: false, im.ConversationUpdated: false, im.ConversationHidden: false,
		im.ConversationDeleted: false, im.ConversationTrimmed: false, im.ConversationInvited: false,
		im.ConversationUninvited: false,
		im.MemberAdded:           false, im.MemberRemoved: false, im.MemberUpdated: false,
		im.ThreadCreated: false, im.ThreadUpdated: false, im.ThreadDeleted: false,
		im.SpaceCreated: false, im.SpaceUpdated: false, im.SpaceDeleted: false, im.SpaceInvited: false,
		im.SpaceUninvited: false,
		im.ChannelCreated: false, im.ChannelUpdated: false, im.ChannelDeleted: false, im.ChannelOpened: false,
		im.ChannelClosed: false,
		im.RoleCreated:   false, im.RoleUpdated: false, im.RoleDeleted: false,
		im.BlockCreated: false, im.BlockDeleted: false,
	}
	for _, e := range im.EventTypes {
		want, known := goes[e]
		if !known {
			t.Errorf("the test does not say whether retention trims %s", e)
		}
		if got := e.OfMessages(); got != want {
			t.Errorf("%s is of messages: %t, want %t", e, got, want)
		}
	}
	if len(goes) != len(im.EventTypes) {
		t.Errorf("%d types are listed here, %d exist", len(goes), len(im.EventTypes))
	}
}
