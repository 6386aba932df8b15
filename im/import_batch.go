package im

import (
	"bytes"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// maxImportedSeq is the greatest seq that an import keeps. It leaves room for more messages than a
// conversation will have: clients in JavaScript cannot hold seqs from 2^53 on.
const maxImportedSeq = 1 << 52

// importing is a transaction that stores lines of an import. It caches what it has read: most lines
// of a batch belong to a few conversations, and nothing else writes during the transaction.
type importing struct {
	s   *Service
	tx  Tx
	now time.Time
	// single is set for a message that is inserted by itself. If only one user can see it, that
	// user must be a current member.
	single bool

	targets map[ID]*target
	directs map[[2]UserID]ID
	// taken and sentAs are the ids and client_ids of lines that already belong to a message, in the
	// store or from an earlier line.
	taken  map[ID]bool
	sentAs map[ClientKey]bool
	// gone, goneAs and goneAt are the ids, client_ids and times of lines that belonged to trimmed
	// and purged messages.
	gone   map[ID]bool
	goneAs map[ClientKey]bool
	goneAt map[goneKey]bool
	// former has the deleted direct conversations of pairs of users.
	former map[[2]UserID][]ID
	// fresh are new ids for the lines, by their index in the batch.
	fresh []ID
}

// goneKey identifies a trimmed or purged message for lines without a client_id. The time is in
// milliseconds.
type goneKey struct {
	conversation ID
	sender       UserID
	at           int64
}

// target is a conversation that lines are imported into.
type target struct {
	Conversation
	// lastID is the id of its newest message, 0 if there is none.
	lastID ID
	// cutoff is the time before which messages are past retention.
	cutoff time.Time
}

// newImporting looks up the keys of all lines at once.
func newImporting(s *Service, tx Tx, batch []Prepared) (*importing, error) {
	b := &importing{
		s: s, tx: tx, now: s.time(), targets: map[ID]*target{}, directs: map[[2]UserID]ID{},
		taken: map[ID]bool{}, sentAs: map[ClientKey]bool{}, fresh: make([]ID, len(batch)),
		gone: map[ID]bool{}, goneAs: map[ClientKey]bool{}, goneAt: map[goneKey]bool{}, former: map[[2]UserID][]ID{},
	}
	var ids []ID
	var keys []ClientKey
	var times []SentKey
	var last ID
	for i, p := range batch {
		if m := p.message; m != nil {
			last = idAfter(last, m.CreatedAt)
			b.fresh[i] = last
			ids = append(ids, last)
			if m.ID != 0 {
				ids = append(ids, m.ID)
			}
			if m.ClientID != "" {
				keys = append(keys, ClientKey{m.Sender, m.ClientID})
			} else {
				times = append(times, SentKey{m.Sender, m.CreatedAt})
			}
		}
	}
	taken, err := tx.Taken(ids)
	if err != nil {
		return nil, err
	}
	for _, id := range taken {
		b.taken[id] = true
	}
	sentAs, err := tx.SentAs(keys)
	for _, key := range sentAs {
		b.sentAs[key] = true
	}
	if err != nil {
		return nil, err
	}
	return b, b.lookUpGone(ids, keys, times)
}

// lookUpGone looks up which keys belonged to trimmed and purged messages.
func (b *importing) lookUpGone(ids []ID, keys []ClientKey, times []SentKey) error {
	gone, err := b.tx.Gone(ids)
	if err != nil {
		return err
	}
	for _, id := range gone {
		b.gone[id] = true
	}
	goneAs, err := b.tx.GoneAs(keys)
	if err != nil {
		return err
	}
	for _, key := range goneAs {
		b.goneAs[key] = true
	}
	goneAt, err := b.tx.GoneAt(times)
	for _, m := range goneAt {
		b.goneAt[goneKey{m.Conversation, m.Sender, m.At.UnixMilli()}] = true
	}
	return err
}

// store stores one line. It refuses a line before it changes anything.
func (b *importing) store(i int, p Prepared) (ImportResult, error) {
	switch {
	case p.err != nil:
		return ImportResult{}, p.err
	case p.conversation != nil:
		return b.conversation(*p.conversation, p.members)
	default:
		return b.message(p, b.fresh[i])
	}
}

// message stores a message, or finds it if it was stored before.
func (b *importing) message(p Prepared, fresh ID) (ImportResult, error) {
	m := *p.message
	c, err := b.find(m.Sender, p.ref)
	if err != nil {
		return ImportResult{}, err
	}
	m.Conversation = c.ID
	// Admins could send as anyone, so a line may have any attachment.
	att, err := b.s.withAttachments(b.tx, m.Type, m.Content, nil)
	if err != nil {
		return ImportResult{}, err
	}
	m.Content, m.Attachments = att.content, att.ids
	if id, found, err := b.again(c, m); err != nil || found {
		return ImportResult{ID: id, Again: true}, err
	}
	if err := b.allow(c, m); err != nil {
		return ImportResult{}, err
	}
	if att.refusal != nil {
		return ImportResult{}, att.refusal
	}
	if m.ID, err = b.id(c, m, fresh); err != nil {
		return ImportResult{}, err
	}
	if c.ID == 0 {
		if c, err = b.createDirect(c.Conversation, m.CreatedAt); err != nil {
			return ImportResult{}, err
		}
		m.Conversation = c.ID
	}
	if c.Kind == Direct && c.MemberCount < len(c.Peers) && m.VisibleTo == "" {
		if err := b.openDirect(c); err != nil {
			return ImportResult{}, err
		}
	}
	if m.Seq <= c.LastSeq || m.Seq > maxImportedSeq {
		m.Seq = 0
	}
	// A message that is due is stored as a tombstone. Nobody has received it, so no erasure has to
	// be published.
	m = m.AsOf(b.now)
	seq, err := b.tx.InsertMessage(m)
	if err != nil {
		return ImportResult{}, err
	}
	c.LastSeq, c.lastID, b.taken[m.ID] = seq, m.ID, true
	if err := b.count(c, m); err != nil {
		return ImportResult{}, err
	}
	if m.ClientID != "" {
		b.sentAs[ClientKey{m.Sender, m.ClientID}] = true
	}
	return ImportResult{ID: m.ID}, nil
}

// count counts a message in its thread, without an event. It counts no tombstone and no message for
// a single user.
func (b *importing) count(c *target, m Message) error {
	if c.Kind != Thread || m.State != Active || m.VisibleTo != "" {
		return nil
	}
	c.Messages++
	if m.CreatedAt.After(c.ActiveAt) {
		c.ActiveAt = m.CreatedAt
	}
	return b.tx.PutActivity(c.ID, c.Messages, c.ActiveAt)
}

// find returns the conversation of a line. A direct conversation that does not exist yet has no ID.
func (b *importing) find(sender UserID, ref ConversationRef) (*target, error) {
	if ref.Peer == "" {
		return b.target(ref.ID)
	}
	if ref.Peer == sender {
		return nil, errSelf()
	}
	peers := PeersOf(sender, ref.Peer)
	if id := b.directs[peers]; id != 0 {
		return b.target(id)
	}
	c, found, err := maybe(b.tx.DirectConversation(peers))
	if err != nil {
		return nil, err
	}
	if !found || !c.DeletedAt.IsZero() {
		c = Conversation{Kind: Direct, Peers: peers, History: HistoryAll, Join: JoinClosed, Invite: InviteByAdmins, FirstSeq: 1}
		return &target{Conversation: c, cutoff: b.s.policy.cutoff(c, b.now)}, nil
	}
	b.directs[peers] = c.ID
	return b.target(c.ID)
}

// target returns an existing conversation.
func (b *importing) target(id ID) (*target, error) {
	if p := b.targets[id]; p != nil {
		return p, nil
	}
	c, found, err := maybe(b.tx.Conversation(id))
	if err != nil {
		return nil, err
	}
	if !found || !c.DeletedAt.IsZero() || c.Kind == Space {
		return nil, errUnknownConversation()
	}
	p := &target{Conversation: c, cutoff: b.s.policy.cutoff(c, b.now)}
	if c.LastSeq > 0 {
		newest, err := b.tx.Messages(HistoryQuery{Conversation: id, Ranges: seqs.Set{{From: 1, To: c.LastSeq}}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(newest.Messages) > 0 {
			p.lastID = newest.Messages[0].ID
		}
	}
	b.targets[id] = p
	return p, nil
}

// again looks for the message among those stored before: by its id, or its client_id, or its time
// and content. It refuses an id or client_id of another message, and a message that was trimmed or
// purged, which a repeated import must not store again.
func (b *importing) again(c *target, m Message) (ID, bool, error) {
	if b.taken[m.ID] {
		there, err := b.notDeleted("id")(b.tx.Message(m.ID))
		if err == nil && (there.Conversation != c.ID || there.Sender != m.Sender || !there.sameContent(m)) {
			err = errIDTaken("id")
		}
		return there.ID, true, err
	}
	if b.gone[m.ID] {
		return 0, false, errGone("id")
	}
	if m.ClientID != "" {
		// Stored messages keep their client_ids, also as tombstones: if none has this
		// client_id, the message was not stored.
		key := ClientKey{m.Sender, m.ClientID}
		if b.goneAs[key] {
			return 0, false, errGone("client_id")
		}
		if !b.sentAs[key] {
			return 0, false, nil
		}
		there, err := b.notDeleted("client_id")(b.tx.MessageByClientID(m.Sender, m.ClientID))
		if err == nil && (there.Conversation != c.ID || !there.sameContent(m)) {
			err = RefuseField(Conflict, "client_id_reused", "client_id", "was used for another message of this sender")
		}
		return there.ID, true, err
	}
	if c.LastSeq > 0 && !b.keepsID(c, m) { // if m can keep its id now, it did so the first time
		if id, found, err := b.findByContent(c, m); err != nil || found {
			return id, found, err
		}
	}
	return 0, false, b.checkGone(c, m)
}

// notDeleted refuses a message that was found by a field if its conversation was deleted: the
// message will be purged.
func (b *importing) notDeleted(field string) func(Message, error) (Message, error) {
	return func(m Message, err error) (Message, error) {
		if err != nil {
			return m, err
		}
		deleted, err := inDeleted(b.tx, m)
		if err == nil && deleted {
			err = errGone(field)
		}
		return m, err
	}
}

// checkGone refuses a message if a trimmed or purged message of the same sender and
// conversation has the same time. Its content is no longer known, so it may be the same
// message. A direct conversation counts as the same as earlier direct conversations of its users
// that were deleted, whether their messages are purged yet or not.
func (b *importing) checkGone(c *target, m Message) error {
	at := m.CreatedAt.UnixMilli()
	if b.goneAt[goneKey{c.ID, m.Sender, at}] {
		return errGone("created_at")
	}
	if c.Kind != Direct {
		return nil
	}
	former, known := b.former[c.Peers]
	if !known {
		var err error
		if former, err = b.tx.GoneDirects(c.Peers); err != nil {
			return err
		}
		b.former[c.Peers] = former
	}
	for _, id := range former {
		if b.goneAt[goneKey{id, m.Sender, at}] {
			return errGone("created_at")
		}
		left, err := b.tx.Messages(HistoryQuery{
			Conversation: id, Ranges: seqs.Set{{From: 1, To: Lasts}}, Sender: m.Sender,
			From: m.CreatedAt, To: m.CreatedAt.Add(time.Millisecond), Limit: 1,
		})
		if err != nil {
			return err
		}
		if len(left.Messages) > 0 {
			return errGone("created_at")
		}
	}
	return nil
}

// findByContent looks for a message by its sender, time and content. A tombstone with the same
// sender, time and single reader, and without a client_id, counts as the same message, because its
// content is no longer known: repeating an import must not store an erased message again.
func (b *importing) findByContent(c *target, m Message) (ID, bool, error) {
	if m.Content != nil {
		there, found, err := maybe(b.tx.MessageAt(c.ID, m.Sender, m.CreatedAt, m.Content.Sent))
		if err != nil || found {
			return there.ID, found, err
		}
	}
	page, err := b.tx.Messages(HistoryQuery{
		Conversation: c.ID, Ranges: seqs.Set{{From: 1, To: c.LastSeq}}, Sender: m.Sender,
		From: m.CreatedAt, To: m.CreatedAt.Add(time.Millisecond), Limit: conversationsAtOnce,
	})
	for _, there := range page.Messages {
		if there.State != Active && there.ClientID == "" && there.VisibleTo == m.VisibleTo {
			return there.ID, true, nil
		}
	}
	return 0, false, err
}

// sameContent reports whether two messages have the same type, the same single reader and the same
// content. A tombstone matches any content.
func (m Message) sameContent(as Message) bool {
	if m.Type != as.Type || m.VisibleTo != as.VisibleTo {
		return false
	}
	a, b := m.Content, as.Content
	return a == nil || b == nil ||
		bytes.Equal(a.Body, b.Body) && bytes.Equal(a.Ext, b.Ext) && slices.Equal(a.Mentions, b.Mentions) && a.MentionAll == b.MentionAll
}

// allow checks the rules for a message that was not stored before.
func (b *importing) allow(c *target, m Message) error {
	if err := checkKind(c.Kind, m.Burn != nil, m.Receipt); err != nil {
		return err
	}
	if m.CreatedAt.Before(c.cutoff) {
		return RefuseField(Rule, "past_retention", "created_at", "is older than the conversation keeps messages")
	}
	if m.VisibleTo != "" {
		if err := b.allowReader(c, m.VisibleTo); err != nil {
			return err
		}
	}
	if m.ReplyTo == 0 {
		return nil
	}
	quoted, found, err := maybe(b.tx.Message(m.ReplyTo))
	if err == nil && (!found || quoted.Conversation != c.ID) {
		err = errNoQuote()
	}
	return err
}

// allowReader refuses a message for a single user who cannot see the thread or channel. In other
// conversations it refuses one for a user who was never a member or, unless the message is
// imported, is not a member now.
func (b *importing) allowReader(c *target, user UserID) error {
	if c.ID == 0 {
		if !slices.Contains(c.Peers[:], user) {
			return errUnknownMember()
		}
		return nil
	}
	if c.Kind == Thread || c.Kind == Channel {
		a, err := b.s.access(b.tx, c.Conversation, user)
		if err == nil && !a.Can(PermissionView) {
			err = errUnknownMember()
		}
		return err
	}
	m, found, err := maybe(b.tx.Membership(c.ID, user))
	if err == nil && (!found || b.single && !m.Active()) {
		err = errUnknownMember()
	}
	return err
}

// createDirect creates the direct conversation of a message, without an event.
func (b *importing) createDirect(c Conversation, at time.Time) (*target, error) {
	c.ID = b.s.ids.Next(b.now)
	c.CreatedAt, c.UpdatedAt, c.EditedAt = at, at, at
	members := make([]Membership, 2)
	for i, peer := range c.Peers {
		members[i] = Membership{
			Conversation: c.ID, User: peer, Role: Member, JoinedAt: at, Intervals: []Interval{{FromSeq: 1}},
		}
	}
	if err := b.create(c, members); err != nil {
		return nil, err
	}
	b.directs[c.Peers] = c.ID
	return b.target(c.ID)
}

// openDirect makes the users of a direct conversation members if they are not yet. A user is not
// yet a member if the hook has dropped all messages of the other user. openDirect publishes an
// event, because streams look up members only once.
func (b *importing) openDirect(c *target) error {
	for _, user := range c.Peers {
		m, _, err := maybe(b.tx.Membership(c.ID, user))
		if err != nil {
			return err
		}
		if m.Active() {
			continue
		}
		if err := b.s.openTo(b.tx, Actor{}, c.Conversation, user, b.now); err != nil {
			return err
		}
		c.MemberCount++
	}
	return nil
}

// create stores a conversation with its members, without an event. The members' stays begin at the
// newest event.
func (b *importing) create(c Conversation, members []Membership) error {
	bounds, err := b.tx.LogBounds()
	if err != nil {
		return err
	}
	if err := b.tx.CreateConversation(c); err != nil {
		return err
	}
	for _, m := range members {
		if err := b.tx.RestoreMember(m, bounds.Head); err != nil {
			return err
		}
	}
	return nil
}

// conversation stores a conversation, or finds it if it was stored before.
func (b *importing) conversation(c Conversation, members []Membership) (ImportResult, error) {
	there, found, err := maybe(b.tx.Conversation(c.ID))
	if err != nil {
		return ImportResult{}, err
	}
	if found {
		if !there.DeletedAt.IsZero() || there.Kind != c.Kind || there.Peers != c.Peers {
			return ImportResult{}, errIDTaken("conversation/id")
		}
		return ImportResult{ID: c.ID, Again: true}, nil
	}
	if _, found, err := maybe(b.tx.Message(c.ID)); err != nil {
		return ImportResult{}, err
	} else if found {
		return ImportResult{}, errIDTaken("conversation/id")
	}
	if c.Kind == Direct {
		other, found, err := maybe(b.tx.DirectConversation(c.Peers))
		if err != nil {
			return ImportResult{}, err
		}
		if found && other.DeletedAt.IsZero() {
			return ImportResult{}, RefuseField(Conflict, "id_taken", "conversation/members",
				"these two users already have a direct conversation, %v", other.ID)
		}
	}
	return ImportResult{ID: c.ID}, b.create(c, members)
}

// keepsID reports whether a message may have the id of its line. Ids rise within a
// conversation, new ids are greater than existing ones, and no id is of a time before its
// message was created.
func (b *importing) keepsID(c *target, m Message) bool {
	at := int64(m.ID) >> idRandomBits
	return m.ID > c.lastID && at >= m.CreatedAt.UnixMilli() && at <= b.now.UnixMilli()
}

// id returns the id of a message: the id in its line if that can be used, otherwise an id with the
// time of its creation if possible, otherwise an id with the current time. It refuses a message
// whose line has the id of a conversation.
func (b *importing) id(c *target, m Message, fresh ID) (ID, error) {
	if m.ID != 0 && b.keepsID(c, m) {
		_, found, err := maybe(b.tx.Conversation(m.ID))
		if err == nil && found {
			err = errIDTaken("id")
		}
		b.s.ids.pass(m.ID)
		return m.ID, err
	}
	if fresh > c.lastID && !b.taken[fresh] && !b.gone[fresh] {
		b.s.ids.pass(fresh)
		return fresh, nil
	}
	return b.s.ids.Next(b.now), nil
}

// idAfter returns a new id for a time. If before is of the same millisecond, the id is
// greater than before: the two messages may be of one conversation, where ids must rise.
func idAfter(before ID, at time.Time) ID {
	random := randomBits()
	id, next := idOf(at.UnixMilli(), random), before.following(random)
	if id < next && next>>idRandomBits == id>>idRandomBits {
		return next
	}
	return id
}

// pass makes the ids that Next returns from now on greater than id.
func (g *IDs) pass(id ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, id)
}

func errIDTaken(field string) error {
	return RefuseField(Conflict, "id_taken", field, "is the id of another message or conversation")
}
