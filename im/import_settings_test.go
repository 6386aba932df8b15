package im_test

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestImportedSettingsFitTheKind checks that an import refuses each setting that the API refuses
// for the kind of conversation, unless it has the value that the API shows for it.
func TestImportedSettingsFitTheKind(t *testing.T) {
	w := newWorld(t)
	hour := new(time.Hour)
	settings := map[string]im.ConversationPatch{
		"history all":           {History: new(im.HistoryAll)},
		"history joined":        {History: new(im.HistoryJoined)},
		"revoke window":         {RevokeWindow: &hour},
		"revoke others' window": {RevokeOthersWindow: &hour},
		"expiry":                {ExpireAfter: hour},
		"retention":             {Retention: &hour},
		"announcement":          {Announcement: new("news")},
		"no announcement":       {Announcement: new("")},
		"avatar":                {Avatar: new("a")},
		"no avatar":             {Avatar: new("")},
		"join open":             {Join: new(im.JoinOpen)},
		"join closed":           {Join: new(im.JoinClosed)},
		"invite by members":     {Invite: new(im.InviteByMembers)},
		"invite by admins":      {Invite: new(im.InviteByAdmins)},
		"all muted":             {MuteAll: new(true)},
		"nobody muted":          {MuteAll: new(false)},
		"slow mode":             {SlowMode: hour},
		"no slow mode":          {SlowMode: new(time.Duration)},
		"visibility":            {Private: new(true)},
	}
	refused := map[im.Kind]map[string]string{
		im.Direct: {
			"history joined":        "422 direct_conversation conversation/settings/history",
			"revoke window":         "422 direct_conversation conversation/settings/revoke_window_seconds",
			"revoke others' window": "422 direct_conversation conversation/settings/revoke_others_window_seconds",
			"announcement":          "422 direct_conversation conversation/settings/announcement",
			"avatar":                "422 direct_conversation conversation/settings/avatar",
			"join open":             "422 direct_conversation conversation/settings/join",
			"invite by members":     "422 direct_conversation conversation/settings/invite",
			"all muted":             "422 direct_conversation conversation/settings/mute_all",
			"slow mode":             "422 direct_conversation conversation/settings/slow_mode_seconds",
			"visibility":            "422 direct_conversation conversation/visibility",
		},
		im.Group: {
			"visibility": "422 setting_unsupported conversation/visibility",
		},
		im.Room: {
			"join closed":       "422 setting_unsupported conversation/settings/join",
			"invite by members": "422 setting_unsupported conversation/settings/invite",
			"visibility":        "422 setting_unsupported conversation/visibility",
		},
	}
	number := im.ID(1) << 40
	for kind, want := range refused {
		for name, s := range settings {
			number++
			in := im.ImportConversation{ID: number.String(), Kind: kind, Name: "g", Settings: s, CreatedAt: epoch}
			in.Members = []im.ImportMember{{User: "alice", Role: im.Owner}, {User: im.UserID("u" + number.String()), Role: im.Member}}
			if kind == im.Direct {
				in.Name, in.Members[0].Role = "", im.Member
			}
			results, err := w.Import(w.ctx, im.Actor{User: "root", Admin: true}, []im.Prepared{w.PrepareConversation(in)})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if e := results[0].Err; e != nil {
				got = answer(e) + " " + e.Field
			}
			if got != want[name] {
				t.Errorf("%s of a %s: %q, want %q", name, kind, got, want[name])
			}
		}
	}
}

// TestReceiptsInRoomsAreNotExported: earlier versions imported messages in rooms that ask for
// receipts, and this one refuses such lines.
func TestReceiptsInRoomsAreNotExported(t *testing.T) {
	w := newWorld(t)
	admin := im.Actor{User: "root", Admin: true}
	var got []bool
	for _, id := range []im.ID{w.room("alice"), w.group(im.HistoryAll, "alice")} {
		m := w.say("alice", byID(id), "hi")
		m.ID, m.Receipt, m.ClientID = m.ID+1, true, ""
		w.must(w.store.Write(w.ctx, func(tx im.Tx) error {
			_, err := tx.InsertMessage(m)
			return err
		}))
		w.must(w.Export(w.ctx, admin, id, func(lines []im.ExportLine) error {
			for _, line := range lines {
				if line.Message != nil {
					got = append(got, line.Message.Receipt)
				}
			}
			return nil
		}))
	}
	w.equal("receipts that are asked for, in the room and in the group", got, []bool{false, false, false, true})
}
