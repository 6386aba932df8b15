package im_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestEndedMutesAreNotShown mutes a member for a minute and checks, an hour later, every
// answer and event with a muted_until.
func TestEndedMutesAreNotShown(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "owner", "bob", "former")
	space := w.space("owner", "bob", "former")
	open := im.JoinOpen
	_, err := w.UpdateConversation(w.ctx, as("owner"), byID(group), im.ConversationPatch{Join: &open})
	w.must(err)
	_, err = w.UpdateSpace(w.ctx, as("owner"), space, im.ConversationPatch{Join: &open})
	w.must(err)
	role := w.role(space, "owner", im.PermissionInvite, 0)
	channel := w.channel("owner", space, false)
	for _, user := range []im.UserID{"bob", "former"} {
		_, err := w.MuteMember(w.ctx, as("owner"), byID(group), user, time.Minute)
		w.must(err)
		_, err = w.MuteSpaceMember(w.ctx, as("owner"), space, user, time.Minute)
		w.must(err)
		_, err = w.MuteMember(w.ctx, as("owner"), byID(channel), user, time.Minute)
		w.must(err)
	}
	w.must(w.Leave(w.ctx, as("former"), byID(group)))
	w.must(w.LeaveSpace(w.ctx, as("former"), space))

	w.step("during the mute", func() {
		for _, s := range w.mutesOf("bob", space, group, channel) {
			if s.until.IsZero() {
				w.Errorf("%s: not muted", s.what)
			}
		}
	})
	w.pass(time.Hour)
	w.step("after it has ended", func() {
		for _, s := range w.mutesOf("bob", space, group, channel) {
			if !s.until.IsZero() {
				w.Errorf("%s: muted until %s, at %s", s.what, s.until, w.clock())
			}
		}
	})
	w.step("in events after it has ended", func() {
		before := len(w.committed())
		m, err := w.SetRole(w.ctx, as("owner"), byID(group), "bob", im.Admin)
		w.must(err)
		w.equal("the member with the changed role is muted until", m.MutedUntil, time.Time{})
		w.must(w.GrantRole(w.ctx, as("owner"), space, role, "bob"))
		w.must(w.UnmuteMember(w.ctx, as("owner"), byID(channel), "bob"))
		w.join("former", group)
		_, err = w.JoinSpace(w.ctx, as("former"), space)
		w.must(err)
		w.must(w.RemoveMember(w.ctx, as("owner"), byID(group), "bob"))
		w.must(w.RemoveSpaceMember(w.ctx, as("owner"), space, "bob"))
		events := w.committed()[before:]
		w.equal("events", len(events), 7)
		for _, e := range events {
			if !e.MutedUntil.IsZero() {
				w.Errorf("%s of %s: muted until %s, at %s", e.Type, e.User, e.MutedUntil, w.clock())
			}
		}
	})
}

// shownMute is the time until which an answer shows a user as muted.
type shownMute struct {
	what  string
	until time.Time
}

// mutesOf returns every answer that shows the mutes of a user, who is a member of a space, of a group
// and of a channel.
func (w *world) mutesOf(user im.UserID, space, group, channel im.ID) (all []shownMute) {
	w.Helper()
	add := func(what string, until time.Time) { all = append(all, shownMute{what, until}) }
	for _, v := range w.list(user) {
		add("list of conversations", v.Me.MutedUntil())
	}
	for _, id := range []im.ID{group, channel} {
		v, err := w.Conversation(w.ctx, as(user), byID(id))
		w.must(err)
		add("conversation", v.Me.MutedUntil())
		m, err := w.Member(w.ctx, as("owner"), byID(id), user)
		w.must(err)
		add("member", m.MutedUntil)
		members, err := w.Members(w.ctx, as("owner"), byID(id), im.Page{Limit: 10})
		w.must(err)
		for _, m := range members.Items {
			if m.User == user {
				add("list of members", m.MutedUntil)
			}
		}
	}
	channels, err := w.Channels(w.ctx, as(user), space, 0, 10)
	w.must(err)
	for _, v := range channels.Items {
		add("list of channels", v.Me.MutedUntil())
	}
	v, err := w.SpaceOf(w.ctx, as(user), space)
	w.must(err)
	add("space", v.Me.MutedUntil())
	spaces, err := w.Spaces(w.ctx, as(user), 0, 10)
	w.must(err)
	for _, v := range spaces {
		add("list of spaces", v.Me.MutedUntil())
	}
	sm, err := w.SpaceMember(w.ctx, as("owner"), space, user)
	w.must(err)
	add("space member", sm.MutedUntil)
	list, err := w.SpaceMembers(w.ctx, as("owner"), space, im.Page{Limit: 10})
	w.must(err)
	for _, m := range list {
		if m.User == user {
			add("list of space members", m.MutedUntil)
		}
	}
	added, err := w.AddMembers(w.ctx, as("owner"), byID(group), []im.UserID{user}, im.Member)
	w.must(err)
	add("adding a member again", added[0].MutedUntil)
	return all
}

// TestAPageOfConversationsLoadsEachMembershipOnce checks that access to the conversations of a page
// costs no look-ups besides their memberships.
func TestAPageOfConversationsLoadsEachMembershipOnce(t *testing.T) {
	w := newWorld(t)
	const groups = 20
	for range groups {
		w.group(im.HistoryJoined, "owner", "bob")
	}
	s, counts := w.count()
	page, err := s.Conversations(w.ctx, as("bob"), im.ConversationFilter{Limit: groups})
	w.must(err)
	w.equal("conversations", len(page.Items), groups)
	w.equal("lookups", counts.of, map[string]int{"Membership": groups})
}

// TestAccessIsMadeInOneFile finds Access values made in other files, which would ignore the
// clock or the permissions.
func TestAccessIsMadeInOneFile(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	computed := []string{"can", "canPreview", "mutedUntil", "slowMode", "readsFrom", "joinedParentAt", "ancestors"}
	made := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := func(n ast.Node) {
			if made++; name != "access.go" {
				t.Errorf("%s: an Access is made outside access.go", fset.Position(n.Pos()))
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if ident, ok := n.Type.(*ast.Ident); ok && ident.Name == "Access" && len(n.Elts) > 0 {
					found(n)
				}
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					if field, ok := left.(*ast.SelectorExpr); ok && slices.Contains(computed, field.Sel.Name) {
						found(n)
					}
				}
			}
			return true
		})
	}
	if made == 0 {
		t.Error("no Access is made anywhere: the test looks for the wrong thing")
	}
}
