package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
)

// Run checks that an engine implements [im.Store]. open returns a new, empty store and
// closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) im.Store) {
	tests := []struct {
		name string
		run  func(*world)
	}{
		{"Conversations", testConversations},
		{"ConversationKinds", testConversationKinds},
		{"DirectConversations", testDirectConversations},
		{"ConversationList", testConversationList},
		{"ListAsOf", testListAsOf},
		{"ListFilters", testListFilters},
		{"Membership", testMembership},
		{"Entry", testEntry},
		{"ManyConversations", testManyConversations},
		{"NewestIsBounded", testNewestIsBounded},
		{"Marks", testMarks},
		{"MarksOfNonMembers", testMarksOfNonMembers},
		{"Muting", testMuting},
		{"Mutes", testMutes},
		{"EveryMembership", testEveryMembership},
		{"Members", testMembers},
		{"OwnerOf", testOwnerOf},
		{"MembersAt", testMembersAt},
		{"MembersAtSeq", testMembersAtSeq},
		{"Threads", testThreads},
		{"JoinedThreads", testJoinedThreads},
		{"Activity", testActivity},
		{"ChildRetention", testChildRetention},
		{"Spaces", testSpaces},
		{"Channels", testChannels},
		{"SearchedBy", testSearchedBy},
		{"SpaceMembers", testSpaceMembers},
		{"SpaceModel", testSpaceModel},
		{"ManyStays", testManyStays},
		{"Versions", testVersions},
		{"Texts", testTexts},
		{"RoleNames", testRoleNames},
		{"Lists", testLists},
		{"Invitations", testInvitations},
		{"LeftOrRemoved", testLeftOrRemoved},
		{"Messages", testMessages},
		{"LastSent", testLastSent},
		{"Spoke", testSpoke},
		{"Insert", testInsert},
		{"InsertErased", testInsertErased},
		{"RestoreMember", testRestoreMember},
		{"Taken", testTaken},
		{"Remembered", testRemembered},
		{"Creations", testCreations},
		{"MessageAt", testMessageAt},
		{"SeqSince", testSeqSince},
		{"QueriesByTime", testQueriesByTime},
		{"Hidden", testHidden},
		{"HiddenSince", testHiddenSince},
		{"GoneSince", testGoneSince},
		{"ChannelsGoneSince", testChannelsGoneSince},
		{"AnyID", testAnyID},
		{"HistoryPages", testHistoryPages},
		{"HistoryFilters", testHistoryFilters},
		{"HistoryBounded", testHistoryBounded},
		{"Erase", testErase},
		{"EraseIsFinal", testEraseIsFinal},
		{"Due", testDue},
		{"BurningAndTracked", testBurningAndTracked},
		{"Sealed", testSealed},
		{"Attachments", testAttachments},
		{"References", testReferences},
		{"Orphans", testOrphans},
		{"SealedAttachments", testSealedAttachments},
		{"Thumbnails", testThumbnails},
		{"ThumbnailTurns", testThumbnailTurns},
		{"ThumbnailsErased", testThumbnailsErased},
		{"SealedThumbnails", testSealedThumbnails},
		{"Remove", testRemove},
		{"Erasures", testErasures},
		{"ErasuresBounded", testErasuresBounded},
		{"ErasuresInChildren", testErasuresInChildren},
		{"Stamps", testStamps},
		{"Receipts", testReceipts},
		{"ReceiptsModel", testReceiptsModel},
		{"ReceiptTimes", testReceiptTimes},
		{"ReceiptsBetweenOwnMessages", testReceiptsBetweenOwnMessages},
		{"Unread", testUnread},
		{"UnreadModel", testUnreadModel},
		{"Blocks", testBlocks},
		{"TokenCuts", testTokenCuts},
		{"Events", testEvents},
		{"EventsModel", testEventsModel},
		{"SparseEvents", testSparseEvents},
		{"ChannelEvents", testChannelEvents},
		{"EventMessages", testEventMessages},
		{"EventData", testEventData},
		{"TrimLog", testTrimLog},
		{"Webhooks", testWebhooks},
		{"Deliveries", testDeliveries},
		{"AllEvents", testAllEvents},
		{"Trim", testTrim},
		{"TrimSteps", testTrimSteps},
		{"Oldest", testOldest},
		{"DeleteConversation", testDeleteConversation},
		{"DeleteChildren", testDeleteChildren},
		{"Purge", testPurge},
		{"Instance", testInstance},
		{"WriteIsAtomic", testWriteIsAtomic},
		{"WriteErrors", testWriteErrors},
		{"WriteContext", testWriteContext},
		{"Admit", testAdmit},
		{"Commits", testCommits},
		{"CommitsBlocks", testCommitsBlocks},
		{"CommitsDue", testCommitsDue},
		{"Snapshot", testSnapshot},
		{"Concurrency", testConcurrency},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newWorld(t, open(t)))
		})
	}
}

// world is a store with helpers for tests.
type world struct {
	testing.TB
	store im.Store
	ids   im.IDs
	now   time.Time
}

// epoch is the time at which every world begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// step runs a part of a test as a subtest on the same store. It ends the test if the part
// fails, because the next parts depend on it.
func (w *world) step(name string, part func()) {
	w.Helper()
	outer := w.TB
	ok := outer.(*testing.T).Run(name, func(t *testing.T) {
		w.TB = t
		defer func() { w.TB = outer }()
		part()
	})
	if !ok {
		outer.FailNow()
	}
}

func newWorld(t testing.TB, store im.Store) *world {
	return &world{TB: t, store: store, now: epoch}
}

// tick advances the time by a millisecond and returns it.
func (w *world) tick() time.Time {
	w.now = w.now.Add(time.Millisecond)
	return w.now
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// everyField makes cmp compare unexported fields, too; sameNil makes it treat nil and empty
// slices and maps alike, because engines may return either.
var (
	everyField = cmp.Exporter(func(reflect.Type) bool { return true })
	sameNil    = cmpopts.EquateEmpty()
)

// equal fails the test if got differs from want. Their types may differ if want can be
// converted, so that constants and literals can be used for it.
func (w *world) equal(what string, got, want any) {
	w.Helper()
	if reflect.DeepEqual(got, want) {
		return // cmp is slower, and model tests compare often
	}
	if diff := cmp.Diff(convert(want, got), got, everyField, sameNil); diff != "" {
		w.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// convert returns want with the type of got, if both are integers, or are of the same kind,
// such as a slice and a named type of it. It converts the elements of a []any one by one.
func convert(want, got any) any {
	if list, ok := want.([]any); ok {
		values, ok := got.([]any)
		if !ok || len(values) != len(list) {
			return want
		}
		converted := make([]any, len(list))
		for i := range list {
			converted[i] = convert(list[i], values[i])
		}
		return converted
	}
	from, to := reflect.ValueOf(want), reflect.TypeOf(got)
	if want == nil || got == nil {
		return want
	}
	integers := from.CanInt() && reflect.Zero(to).CanInt()
	if integers || from.Kind() == to.Kind() && from.CanConvert(to) {
		return from.Convert(to).Interface()
	}
	return want
}

func (w *world) notFound(what string, err error) {
	w.Helper()
	if !errors.Is(err, im.ErrNotFound) {
		w.Fatalf("%s: %v, want ErrNotFound", what, err)
	}
}

// write runs fn in a transaction.
func (w *world) write(fn func(im.Tx) error) {
	w.Helper()
	w.must(w.store.Write(context.Background(), fn))
}

// waitForListeners waits until listeners have been called for all commits so far. They are
// called before the next commit.
func (w *world) waitForListeners() {
	w.Helper()
	w.must(w.store.Ready(context.Background()))
}

func (w *world) view(fn func(im.Reader) error) {
	w.Helper()
	w.must(w.store.View(context.Background(), fn))
}

// read returns the result of a Reader method.
func read[T any](w *world, fn func(im.Reader) (T, error)) T {
	w.Helper()
	var v T
	w.view(func(r im.Reader) (err error) {
		v, err = fn(r)
		return err
	})
	return v
}

func (w *world) conversation(id im.ID) im.Conversation {
	w.Helper()
	return read(w, func(r im.Reader) (im.Conversation, error) { return r.Conversation(id) })
}

func (w *world) membership(id im.ID, user im.UserID) im.Membership {
	w.Helper()
	return read(w, func(r im.Reader) (im.Membership, error) { return r.Membership(id, user) })
}

// group creates a group with members.
func (w *world) group(history im.History, members ...im.UserID) im.ID {
	w.Helper()
	at := w.tick()
	id := w.ids.Next(at)
	w.write(func(tx im.Tx) error {
		return makeGroup(tx, im.Conversation{
			ID: id, Kind: im.Group, Name: "a group", History: history,
			FirstSeq: 1, CreatedAt: at, UpdatedAt: at, EditedAt: at,
		}, members)
	})
	return id
}

// makeGroup creates a conversation, such as a group, with its first members and one event.
func makeGroup(tx im.Tx, c im.Conversation, members []im.UserID) error {
	if err := tx.CreateConversation(c); err != nil {
		return err
	}
	var actor im.UserID
	if len(members) > 0 {
		actor = members[0]
	}
	pos, err := tx.Append(im.Event{Type: im.ConversationCreated, At: c.CreatedAt, Conversation: c.ID, Actor: actor})
	if err != nil {
		return err
	}
	for _, user := range members {
		m := im.Membership{Conversation: c.ID, User: user, Role: im.Member, JoinedAt: c.CreatedAt}
		if err := tx.AddMember(m, pos); err != nil {
			return err
		}
	}
	return nil
}

// join adds a member and returns the position of the event.
func (w *world) join(id im.ID, user im.UserID) (pos im.Position) {
	w.Helper()
	at := w.tick()
	w.write(func(tx im.Tx) (err error) {
		pos, err = tx.Append(im.Event{Type: im.MemberAdded, At: at, Conversation: id, Actor: user, User: user, Role: im.Member})
		if err != nil {
			return err
		}
		return tx.AddMember(im.Membership{Conversation: id, User: user, Role: im.Member, JoinedAt: at}, pos)
	})
	return pos
}

// leave removes a member and returns the position of the event.
func (w *world) leave(id im.ID, user im.UserID) (pos im.Position) {
	w.Helper()
	at := w.tick()
	w.write(func(tx im.Tx) (err error) {
		pos, err = tx.Append(im.Event{Type: im.MemberRemoved, At: at, Conversation: id, Actor: user, User: user})
		if err != nil {
			return err
		}
		return tx.RemoveMember(id, user, pos, false)
	})
	return pos
}

// text returns a new text message.
func (w *world) text(id im.ID, sender im.UserID, text string) im.Message {
	w.Helper()
	at := w.tick()
	return im.Message{
		ID: w.ids.Next(at), Conversation: id, Sender: sender, Type: im.Text, State: im.Active,
		CreatedAt: at, Content: content(w, fmt.Sprintf(`{"text":%q}`, text)),
	}
}

// content returns the content of a text message with a body.
func content(tb testing.TB, body string) *im.Content {
	tb.Helper()
	c, err := im.ParseContent([]byte(`{"body":` + body + `,"type":"text"}`))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// send stores a message with its event and returns it with its seq.
func (w *world) send(m im.Message) im.Message {
	w.Helper()
	w.write(func(tx im.Tx) (err error) {
		m.Seq, _, err = insert(tx, m)
		return err
	})
	return m
}

// insert stores a message with its event.
func insert(tx im.Tx, m im.Message) (int64, im.Position, error) {
	return tx.Send(m, im.Event{
		Type: im.MessageCreated, At: m.CreatedAt, Conversation: m.Conversation,
		Actor: m.Sender, ActorDevice: m.SenderDevice,
	})
}
