package im

import (
	"bytes"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// importing is a transaction that stores lines of an import. It remembers what
// it has looked up, for the lines of a batch are mostly of a few conversations
// and nobody else writes meanwhile.
type importing struct {
	s   *Service
	tx  Tx
	now time.Time
	// single is set for a message that is inserted by itself: who alone is to
	// see it has to be a member now.
	single bool

	places  map[ID]*place
	directs map[[2]UserID]ID
	// taken and sentAs are what of the ids and client_ids of the lines is that of
	// a message, here or in a line before: all others are not.
	taken  map[ID]bool
	sentAs map[ClientKey]bool
	// gone, goneAs and goneAt are what of the ids, client_ids, and senders with times
	// is that of a message that was removed. The times are in milliseconds.
	gone   map[ID]bool
	goneAs map[ClientKey]bool
	goneAt map[goneKey]bool
	// former are the direct conversations of two users that were deleted.
	former map[[2]UserID][]ID
	// fresh are ids for the lines, by their place in the batch.
	fresh []ID
}

// goneKey is what a message that was removed is known by to a line without other
// names for it.
type goneKey struct {
	conversation ID
	sender       UserID
	at           int64
}

// place is a conversation into which is imported.
type place struct {
	Conversation
	// lastID is the id of its newest message, 0 without any.
	lastID ID
	// cutoff is the time before which nothing is kept.
	cutoff time.Time
}

// newImporting looks up at once what is asked of all lines.
func newImporting(s *Service, tx Tx, batch []Prepared) (*importing, error) {
	b := &importing{
		s: s, tx: tx, now: s.time(), places: map[ID]*place{}, directs: map[[2]UserID]ID{},
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

// lookUpGone looks up what was removed of what lines are known by.
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

// store stores one line. A refusal comes before anything is changed.
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

// message stores a message, or finds it.
func (b *importing) message(p Prepared, fresh ID) (ImportResult, error) {
	m := *p.message
	c, err := b.find(m.Sender, p.place)
	if err != nil {
		return ImportResult{}, err
	}
	m.Conversation = c.ID
	if id, found, err := b.again(c, m); err != nil || found {
		return ImportResult{ID: id, Again: true}, err
	}
	if err := b.allow(c, m); err != nil {
		return ImportResult{}, err
	}
	if c.ID == 0 {
		if c, err = b.createDirect(c.Conversation, m.CreatedAt); err != nil {
			return ImportResult{}, err
		}
		m.Conversation = c.ID
	}
	if m.ID, err = b.id(c, m, fresh); err != nil {
		return ImportResult{}, err
	}
	if m.Seq <= c.LastSeq {
		m.Seq = 0
	}
	// What is due already is stored as the tombstone that it is: nobody has
	// seen it here, so nobody is to be told that it is gone.
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

// count counts a message in its thread, of which it tells nobody either.
func (b *importing) count(c *place, m Message) error {
	if c.Kind != Thread || m.State != Active || m.VisibleTo != "" {
		return nil
	}
	c.Messages++
	if m.CreatedAt.After(c.ActiveAt) {
		c.ActiveAt = m.CreatedAt
	}
	return b.tx.PutActivity(c.ID, c.Messages, c.ActiveAt)
}

// find finds the conversation of a line. A direct one that does not exist yet
// comes back without an ID.
func (b *importing) find(sender UserID, ref ConversationRef) (*place, error) {
	if ref.Peer == "" {
		return b.place(ref.ID)
	}
	if ref.Peer == sender {
		return nil, errSelf()
	}
	peers := PeersOf(sender, ref.Peer)
	if id := b.directs[peers]; id != 0 {
		return b.place(id)
	}
	c, found, err := maybe(b.tx.DirectConversation(peers))
	if err != nil {
		return nil, err
	}
	if !found || !c.DeletedAt.IsZero() {
		c = Conversation{Kind: Direct, Peers: peers, History: HistoryAll, Join: JoinClosed, Invite: InviteByAdmins, FirstSeq: 1}
		return &place{Conversation: c, cutoff: b.s.policy.cutoff(c, b.now)}, nil
	}
	b.directs[peers] = c.ID
	return b.place(c.ID)
}

// place returns a conversation that is there.
func (b *importing) place(id ID) (*place, error) {
	if p := b.places[id]; p != nil {
		return p, nil
	}
	c, found, err := maybe(b.tx.Conversation(id))
	if err != nil {
		return nil, err
	}
	if !found || !c.DeletedAt.IsZero() || c.Kind == Space {
		return nil, errUnknownConversation()
	}
	p := &place{Conversation: c, cutoff: b.s.policy.cutoff(c, b.now)}
	if c.LastSeq > 0 {
		newest, err := b.tx.Messages(HistoryQuery{Conversation: id, Ranges: seqs.Set{{From: 1, To: c.LastSeq}}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(newest.Messages) > 0 {
			p.lastID = newest.Messages[0].ID
		}
	}
	b.places[id] = p
	return p, nil
}

// again looks for a message that is there already: by its id, else by its
// client_id, else by when it was created and what it says. One that was there and
// was removed is refused: repeating an import must not bring it back.
func (b *importing) again(c *place, m Message) (ID, bool, error) {
	if b.taken[m.ID] {
		there, err := b.there("id")(b.tx.Message(m.ID))
		if err == nil && (there.Conversation != c.ID || there.Sender != m.Sender || !there.saysAs(m)) {
			err = errIDTaken("id")
		}
		return there.ID, true, err
	}
	if b.gone[m.ID] {
		return 0, false, errGone("id")
	}
	if m.ClientID != "" {
		// Whatever is there keeps its client_id, erased or not: a message that
		// is not found by it is not there.
		key := ClientKey{m.Sender, m.ClientID}
		if b.goneAs[key] {
			return 0, false, errGone("client_id")
		}
		if !b.sentAs[key] {
			return 0, false, nil
		}
		there, err := b.there("client_id")(b.tx.MessageByClientID(m.Sender, m.ClientID))
		if err == nil && (there.Conversation != c.ID || !there.saysAs(m)) {
			err = RefuseField(Conflict, "client_id_reused", "client_id", "was used for another message of this sender")
		}
		return there.ID, true, err
	}
	if c.LastSeq > 0 && !b.keeps(c, m) { // else its id would have been kept the first time, too
		if id, found, err := b.saidAt(c, m); err != nil || found {
			return id, found, err
		}
	}
	return 0, false, b.checkGone(c, m)
}

// there refuses a message that is found by a field if its conversation was deleted:
// it is about to be removed.
func (b *importing) there(field string) func(Message, error) (Message, error) {
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

// checkGone refuses a message whose sender had one in the conversation, at the same
// time, that was removed. Nothing is left by which to tell whether it said the same,
// so any is taken for it. To the two of a direct conversation those that they had
// before, and were deleted, are the same.
func (b *importing) checkGone(c *place, m Message) error {
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

// saidAt looks for a message by its sender, its time and what it says. Of one
// that was taken back nothing is left to compare, so any is taken for it:
// repeating an import must not bring back what was taken back since.
func (b *importing) saidAt(c *place, m Message) (ID, bool, error) {
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

// saysAs reports whether a message that is stored says the same as one that is
// imported. Where one of them was taken back, nothing is left to compare.
func (m Message) saysAs(as Message) bool {
	if m.Type != as.Type || m.VisibleTo != as.VisibleTo {
		return false
	}
	a, b := m.Content, as.Content
	return a == nil || b == nil ||
		bytes.Equal(a.Body, b.Body) && bytes.Equal(a.Ext, b.Ext) && slices.Equal(a.Mentions, b.Mentions) && a.MentionAll == b.MentionAll
}

// allow asks the rules for a message that is not there yet.
func (b *importing) allow(c *place, m Message) error {
	if m.Burn != nil && c.Kind != Direct {
		return RefuseField(Rule, "burn_unsupported", "burn", "only direct messages burn")
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

// allowReader refuses who alone is to see a message if they cannot, or, of a
// message as it was, never could.
func (b *importing) allowReader(c *place, user UserID) error {
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

// createDirect makes the direct conversation of a message and tells nobody.
func (b *importing) createDirect(c Conversation, at time.Time) (*place, error) {
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
	return b.place(c.ID)
}

// create stores a conversation with its members and tells nobody. They are
// members from the newest event on.
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

// conversation stores a conversation, or finds it.
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
				"the two have a direct conversation already, %v", other.ID)
		}
	}
	return ImportResult{ID: c.ID}, b.create(c, members)
}

// keeps reports whether a message may have the id that it brings along. Ids rise
// within a conversation, those to come are greater than all that are, and none
// is of a time before its message was created.
func (b *importing) keeps(c *place, m Message) bool {
	at := int64(m.ID) >> idRandomBits
	return m.ID > c.lastID && at >= m.CreatedAt.UnixMilli() && at <= b.now.UnixMilli()
}

// id returns the id of a message: its own if it may have it, else one of the
// time at which it was created, else one of now.
func (b *importing) id(c *place, m Message, fresh ID) (ID, error) {
	if m.ID != 0 && b.keeps(c, m) {
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

// idAfter returns an id of a time, greater than the one before if that is of the
// same millisecond: messages of one are often of one conversation, and the store
// takes those best whose ids rise.
func idAfter(before ID, at time.Time) ID {
	random := randomBits()
	id, next := idOf(at.UnixMilli(), random), before.following(random)
	if id < next && next>>idRandomBits == id>>idRandomBits {
		return next
	}
	return id
}

// pass sees to it that ids to come are greater than one that came from
// elsewhere.
func (g *IDs) pass(id ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, id)
}

func errIDTaken(field string) error {
	return RefuseField(Conflict, "id_taken", field, "is that of something else")
}
