package im_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// The delay that one user can cause others, or themselves, is bounded: a read does a bounded amount
// of work, however much data there is. These tests count the work; they do not measure time.

// counted is a store that counts the look-ups of its readers.
type counted struct {
	im.Store
	reads int // reads begun
	most  int // the maximum number of look-ups of one read
	of    map[string]int
}

func (s *counted) View(ctx context.Context, fn func(im.Reader) error) error {
	return s.Store.View(ctx, func(r im.Reader) error {
		s.reads++
		one := &countedReader{Reader: r, of: s.of}
		defer func() { s.most = max(s.most, one.n) }()
		return fn(one)
	})
}

// countedReader counts look-ups that could be made for each message, event, conversation or member.
type countedReader struct {
	im.Reader
	n  int
	of map[string]int
}

func (r *countedReader) count(name string) { r.n, r.of[name] = r.n+1, r.of[name]+1 }

func (r *countedReader) Conversation(id im.ID) (im.Conversation, error) {
	r.count("Conversation")
	return r.Reader.Conversation(id)
}

func (r *countedReader) ConversationsByID(ids []im.ID) ([]im.Conversation, error) {
	for range ids {
		r.count("Conversation")
	}
	return r.Reader.ConversationsByID(ids)
}

func (r *countedReader) Memberships(user im.UserID, ids []im.ID) ([]im.Membership, error) {
	for range ids {
		r.count("Membership")
	}
	return r.Reader.Memberships(user, ids)
}

func (r *countedReader) Entry(q im.EntryQuery) (im.Entry, error) {
	r.count("Conversation")
	r.count("Membership")
	return r.Reader.Entry(q)
}

func (r *countedReader) Membership(id im.ID, user im.UserID) (im.Membership, error) {
	r.count("Membership")
	return r.Reader.Membership(id, user)
}

func (r *countedReader) RolesAt(id im.ID, at im.Position) (im.SpaceRoles, error) {
	r.count("RolesAt")
	return r.Reader.RolesAt(id, at)
}

func (r *countedReader) AccessAt(id im.ID, at im.Position) (im.ChannelAccess, error) {
	r.count("AccessAt")
	return r.Reader.AccessAt(id, at)
}

func (r *countedReader) SpaceMembersAt(space, channel im.ID, at im.Position, users []im.UserID) ([]im.SpaceMember, error) {
	r.count("SpaceMembersAt")
	return r.Reader.SpaceMembersAt(space, channel, at, users)
}

func (r *countedReader) Message(id im.ID) (im.Message, error) {
	r.count("Message")
	return r.Reader.Message(id)
}

func (r *countedReader) EveryMembership(id im.ID, after im.UserID, limit int) ([]im.Membership, error) {
	list, err := r.Reader.EveryMembership(id, after, limit)
	for range list {
		r.count("EveryMembership")
	}
	return list, err
}

func (r *countedReader) Unread(queries ...im.UnreadQuery) ([]im.UnreadCount, error) {
	for range queries {
		r.count("Unread")
	}
	return r.Reader.Unread(queries...)
}

// count returns the use cases on a store that counts.
func (w *world) count() (*im.Service, *counted) {
	s := &counted{Store: w.store, of: map[string]int{}}
	return im.NewService(s, im.DefaultPolicy(), w.clock), s
}

// builder creates a large world directly in the store, in few transactions.
type builder struct {
	*world
	ids im.IDs
}

func (b *builder) id() im.ID { return b.ids.Next(b.now) }

func (b *builder) write(fn func(tx im.Tx)) {
	b.Helper()
	b.must(b.store.Write(b.ctx, func(tx im.Tx) error {
		fn(tx)
		return nil
	}))
}

func (b *builder) make(tx im.Tx, c im.Conversation, members ...im.UserID) im.ID {
	c.ID, c.Name, c.History, c.Join, c.Invite = b.id(), "x", im.HistoryAll, im.JoinClosed, im.InviteByAdmins
	c.CreatedAt, c.UpdatedAt = b.now, b.now
	b.must(tx.CreateConversation(c))
	if len(members) == 0 {
		return c.ID
	}
	at, err := tx.Append(im.Event{Type: im.ConversationCreated, At: b.now, Conversation: c.ID})
	b.must(err)
	for _, user := range members {
		b.must(tx.AddMember(im.Membership{Conversation: c.ID, User: user, Role: im.Member, JoinedAt: b.now}, at))
	}
	return c.ID
}

func (b *builder) say(tx im.Tx, id im.ID, words string) im.ID {
	c, err := im.ParseContent(fmt.Appendf(nil, `{"body":{"text":%q},"type":"text"}`, words))
	b.must(err)
	m := im.Message{ID: b.id(), Conversation: id, Sender: "mallory", Type: im.Text, State: im.Active, CreatedAt: b.now, Content: c}
	m.Seq, err = tx.InsertMessage(m)
	b.must(err)
	_, err = tx.Append(im.Event{Type: im.MessageCreated, At: b.now, Conversation: id, MessageID: m.ID, Seq: m.Seq, Actor: "mallory"})
	b.must(err)
	return m.ID
}

// roles returns the maximum number of roles of a space. The first denies PermissionView.
func (b *builder) roles() im.RoleSet {
	set := im.RoleSet{{ID: b.id(), Grants: im.Grants{Deny: im.PermissionView}}}
	for len(set) < im.DefaultPolicy().MaxRoles-1 {
		set = append(set, im.SpaceRole{ID: b.id(), Grants: im.Grants{Allow: im.PermissionSend}})
	}
	return append(set, im.SpaceRole{ID: im.Everyone, Grants: im.Grants{Allow: im.DefaultPermissions}})
}

// access returns access rules with the maximum number of overrides; nobody sees a private channel.
func access(set im.RoleSet, private bool) im.ChannelAccess {
	a := im.ChannelAccess{Private: private}
	for _, r := range set[1 : im.DefaultPolicy().MaxChannelRoles+1] {
		a.Overrides = append(a.Overrides, im.Override{Role: r.ID, Grants: im.Grants{Allow: im.PermissionMentionAll}})
	}
	return a
}

// spacesOf creates n spaces with the users as members and the maximum number of channels, every
// third of them private. It returns the channels by whether they are private.
func (b *builder) spacesOf(n int, users ...im.UserID) (spaces, open, private []im.ID) {
	for range n {
		b.write(func(tx im.Tx) {
			space := b.make(tx, im.Conversation{Kind: im.Space}, users...)
			set := b.roles()
			b.must(tx.PutRoles(space, im.SpaceRoles{Roles: set}, 1))
			spaces = append(spaces, space)
			for c := range im.DefaultPolicy().MaxChannels {
				id := b.make(tx, im.Conversation{Kind: im.Channel, Space: space, Private: c%3 == 0})
				b.must(tx.PutAccess(id, access(set, c%3 == 0), 1))
				if c%3 == 0 {
					private = append(private, id)
				} else {
					open = append(open, id)
				}
			}
		})
	}
	return spaces, open, private
}

// searchAll returns all hits of a search, page by page.
func searchAll(w *world, s *im.Service, user im.UserID, words string) (ids []im.ID, pages int) {
	w.Helper()
	f := im.SearchFilter{Words: words, Limit: 50}
	for {
		page, err := s.Search(w.ctx, as(user), f)
		w.must(err)
		for _, hit := range page.Hits {
			ids = append(ids, hit.Message.ID)
		}
		if pages++; page.Next == 0 {
			return ids, pages
		}
		f.Past = page.Next
	}
}

// A user who is added to very many spaces can still search.
func TestSearchInVeryManyChannels(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	_, open, private := b.spacesOf(60, "mallory", "victim")
	var want []im.ID
	b.write(func(tx im.Tx) {
		mine := b.make(tx, im.Conversation{Kind: im.Group}, "victim", "mallory")
		foreign := b.make(tx, im.Conversation{Kind: im.Group}, "mallory")
		for i, id := range slices.Concat(open[:300], private[:300], []im.ID{mine, foreign, mine}) {
			if m := b.say(tx, id, "needle"); i < 300 || id == mine {
				want = append(want, m)
			}
		}
	})
	slices.Reverse(want)
	s, counts := w.count()
	got, pages := searchAll(w, s, "victim", "needle")
	if !slices.Equal(got, want) {
		t.Errorf("found %d, want %d", len(got), len(want))
	}
	if pages > 2+len(want)/25 {
		t.Errorf("%d pages", pages)
	}
	if counts.most > 3000 {
		t.Errorf("a page took %d look-ups: %v", counts.most, counts.of)
	}
	// The roles of the space are loaded once for all its channels.
	if n := counts.of["RolesAt"]; n > 60*pages {
		t.Errorf("the roles of 60 spaces were loaded %d times on %d pages", n, pages)
	}
	_, pages = searchAll(w, s, "victim", "nothing")
	w.equal("pages of an empty search", pages, 1)
}

// A search with a hit in each of a few conversations is bounded, too.
func TestSearchWithinListedConversations(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	_, open, private := b.spacesOf(10, "mallory", "victim")
	b.write(func(tx im.Tx) {
		for _, id := range slices.Concat(open, private) {
			b.say(tx, id, "needle")
		}
	})
	s, counts := w.count()
	got, _ := searchAll(w, s, "victim", "needle")
	w.equal("found", len(got), len(open))
	if counts.most > 3000 {
		t.Errorf("a page took %d look-ups: %v", counts.most, counts.of)
	}
}

// A replay of a channel loads its visibility once for each version.
func TestReplayOfAChannelWithManyRoles(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	spaces, open, _ := b.spacesOf(1, "mallory", "victim")
	var sets []im.RoleSet
	for range 3 {
		sets = append(sets, b.roles())
	}
	b.write(func(tx im.Tx) {
		at, err := tx.Append(im.Event{Type: im.SpaceUpdated, At: w.now, Conversation: spaces[0], Space: spaces[0]})
		b.must(err)
		b.must(tx.PutRoles(spaces[0], im.SpaceRoles{Roles: sets[0]}, at))
	})
	for n := range 10 {
		b.write(func(tx im.Tx) {
			for range 100 {
				b.say(tx, open[0], fmt.Sprint(n))
			}
		})
	}
	s, counts := w.count()
	bounds, err := s.LogBounds(w.ctx)
	w.must(err)
	received, after := 0, im.Position(0)
	for after < bounds.Head {
		window, err := s.Events(w.ctx, as("victim"), after, bounds.Head, 1000)
		w.must(err)
		received, after = received+len(window.Events), window.Through
	}
	if received < 1000 {
		t.Errorf("received %d events", received)
	}
	if n := counts.of["RolesAt"]; n > 3*counts.reads {
		t.Errorf("the roles were loaded %d times in %d reads", n, counts.reads)
	}
	if n := counts.of["SpaceMembersAt"]; n > 2*counts.reads {
		t.Errorf("the member was loaded %d times in %d reads", n, counts.reads)
	}
	if counts.most > 600 {
		t.Errorf("a read took %d look-ups: %v", counts.most, counts.of)
	}
}

// The same when each event is in a different channel.
func TestReplayOfManyChannels(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	_, open, private := b.spacesOf(8, "mallory", "victim")
	b.write(func(tx im.Tx) {
		for _, id := range slices.Concat(open, private) {
			b.say(tx, id, "hi")
		}
	})
	s, counts := w.count()
	bounds, err := s.LogBounds(w.ctx)
	w.must(err)
	seen := map[im.ID]bool{}
	for after := im.Position(0); after < bounds.Head; {
		window, err := s.Events(w.ctx, as("victim"), after, bounds.Head, 1000)
		w.must(err)
		for _, e := range window.Events {
			if e.Type == im.MessageCreated {
				seen[e.Conversation] = true
			}
		}
		after = window.Through
	}
	w.equal("received", slices.Sorted(maps.Keys(seen)), slices.Sorted(slices.Values(open)))
	if counts.most > 2500 {
		t.Errorf("a read took %d look-ups: %v", counts.most, counts.of)
	}
}

// Deleted conversations are listed by reads of bounded length.
func TestVeryManyDeletedChannels(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	spaces, open, private := b.spacesOf(11, "mallory", "victim")
	w.equal("spaces", len(spaces), 11)
	w.pass(time.Minute)
	b.write(func(tx im.Tx) {
		for _, id := range slices.Concat(private[:34], open, private[34:]) {
			at, err := tx.Append(im.Event{Type: im.ChannelDeleted, At: w.now, Conversation: id})
			b.must(err)
			b.must(tx.DeleteConversation(id, w.now, at))
		}
	})
	s, counts := w.count()
	lost, err := s.Lost(w.ctx, as("victim"), epoch)
	w.must(err)
	hidden := map[im.ID]bool{}
	for _, id := range private {
		hidden[id] = true
	}
	for _, g := range lost.Gone {
		if hidden[g.Conversation] {
			t.Fatal("received a channel that they could not see")
		}
	}
	w.equal("more", lost.More, true)
	if n := len(lost.Gone); n < 600 || n > len(open) {
		t.Errorf("received %d of %d", n, len(open))
	}
	if counts.most > 1500 {
		t.Errorf("a read took %d look-ups: %v", counts.most, counts.of)
	}
}

// Unread messages of very many conversations are counted page by page, each in reads
// of a bounded length.
func TestUnreadInVeryManyConversations(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	const n = 5300
	for made := 0; made < n; made += 100 {
		b.write(func(tx im.Tx) {
			for range 100 {
				b.say(tx, b.make(tx, im.Conversation{Kind: im.Group}, "victim", "mallory"), "hi")
			}
		})
	}
	s, counts := w.count()
	first, err := s.Unread(w.ctx, as("victim"), nil)
	w.must(err)
	w.equal("the first page", []any{first.Total, len(first.Items), first.More, first.Next != 0}, []any{5000, 5000, true, true})
	rest, err := s.UnreadPast(w.ctx, as("victim"), first.Next)
	w.must(err)
	w.equal("the last page", []any{rest.Total, len(rest.Items), rest.More, rest.Next != 0}, []any{n - 5000, n - 5000, false, false})
	seen := map[im.ID]bool{}
	for _, of := range append(first.Items, rest.Items...) {
		seen[of.Conversation] = true
	}
	w.equal("conversations", len(seen), n)
	if counts.most > 1000 {
		t.Errorf("a read took %d look-ups: %v", counts.most, counts.of)
	}
	w.must(s.ClearAllUnread(w.ctx, as("victim")))
	first, err = s.Unread(w.ctx, as("victim"), nil)
	w.must(err)
	w.equal("after clearing", []any{first.Total, first.More}, []any{0, true})
}

// The members of a room are exported in reads of a bounded length.
func TestExportOfVeryManyMembers(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	var want []im.UserID
	for n := range 1201 {
		want = append(want, im.UserID(fmt.Sprintf("user-%04d", n)))
	}
	var room im.ID
	b.write(func(tx im.Tx) { room = b.make(tx, im.Conversation{Kind: im.Room}, want...) })
	s, counts := w.count()
	var got []im.UserID
	w.must(s.Export(w.ctx, im.Actor{User: "root", Admin: true}, room, func(lines []im.ExportLine) error {
		for _, line := range lines {
			for _, m := range line.Members {
				got = append(got, m.User)
			}
		}
		return nil
	}))
	if !slices.Equal(got, want) {
		t.Errorf("%d members were exported, want %d", len(got), len(want))
	}
	if counts.most > 600 {
		t.Errorf("a read looked at %d members", counts.most)
	}
}

// The recipients of an event of a channel are found by reads of bounded length, however
// many users are online.
func TestVeryManyRecipients(t *testing.T) {
	w := newWorld(t)
	b := &builder{world: w}
	var users []im.UserID
	for n := range 4500 {
		users = append(users, im.UserID(fmt.Sprintf("user-%04d", n)))
	}
	_, open, private := b.spacesOf(1, users...)
	s, counts := w.count()
	bounds, err := s.LogBounds(w.ctx)
	w.must(err)
	before := counts.reads
	for channel, want := range map[im.ID]int{open[0]: len(users), private[0]: 0} {
		a, err := s.MembersAt(w.ctx, channel, bounds.Head, slices.Concat(users, users[:100], []im.UserID{"nobody"}))
		w.must(err)
		w.equal("conversation", a.Conversation.ID, channel)
		got := map[im.UserID]bool{}
		for _, m := range a.Members {
			got[m.User] = true
		}
		w.equal("members", []int{len(got), len(a.Members)}, []int{want, want})
	}
	w.equal("reads for each event", counts.reads-before, 2*3)
}
