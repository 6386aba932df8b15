package im

import (
	"fmt"
	"math"
	"time"
)

// This file has the checks of import lines that need no stored state. They take longer than storing
// the lines and can run on all cores.

// maxLineSeq is the greatest seq in a line: the largest integer that every JSON parser can
// represent. A message keeps its seq up to maxImportedSeq.
const maxLineSeq = 1<<53 - 1

// PrepareMessage checks a message as strictly as a sent one.
func (s *Service) PrepareMessage(m ImportMessage) Prepared {
	p, err := s.prepareMessage(m)
	if err != nil {
		return Refused(err)
	}
	return p
}

func (s *Service) prepareMessage(m ImportMessage) (Prepared, error) {
	ref, err := ParseConversationRef(m.Conversation)
	if err != nil {
		return Prepared{}, err
	}
	now := s.time()
	out := Message{
		Seq: m.Seq, Sender: m.Sender, SenderDevice: m.SenderDevice, ClientID: m.ClientID, Type: m.Type,
		State: Active, Receipt: m.Receipt, Quiet: true, VisibleTo: m.VisibleTo, Burn: m.Burn,
	}
	if err := checkImported(m); err != nil {
		return Prepared{}, err
	}
	if out.ID, err = importedID(m.ID); err != nil {
		return Prepared{}, err
	}
	if out.CreatedAt, err = pastTime("created_at", m.CreatedAt, now); err != nil {
		return Prepared{}, err
	}
	if m.ReplyTo != "" {
		var ok bool
		if out.ReplyTo, ok = ParseID(m.ReplyTo); !ok {
			return Prepared{}, errNoQuote()
		}
	}
	if out.ExpiresAt, err = expiry(m.ExpiresAt, out.CreatedAt); err != nil {
		return Prepared{}, err
	}
	if m.Erased != nil {
		out.State = m.Erased.State
		out.Erased, err = tombstoneNote(m, now)
	} else {
		d := Draft{
			ClientID: m.ClientID, Type: m.Type, Body: m.Body, Ext: m.Ext, Mentions: m.Mentions, MentionAll: m.MentionAll,
			ReplyTo: m.ReplyTo, Receipt: m.Receipt, Burn: m.Burn, VisibleTo: m.VisibleTo,
		}
		out.Content, err = d.Content(s.policy.MaxMessageBytes)
	}
	if err != nil {
		return Prepared{}, err
	}
	if b := out.Burn; b != nil && !b.At.IsZero() {
		burn := *b
		burn.At = b.At.UTC().Truncate(time.Millisecond)
		out.Burn = &burn
	}
	return Prepared{message: &out, ref: ref}, nil
}

// checkImported checks the fields that a draft does not have, and those that are checked with
// the content, which a tombstone does not have.
func checkImported(m ImportMessage) error {
	switch {
	case !m.Sender.Valid():
		return RefuseField(Invalid, "invalid_request", "sender", "is not a user id")
	case m.SenderDevice != "" && !ValidDevice(m.SenderDevice):
		return RefuseField(Invalid, "invalid_request", "sender_device", "must be 1 to %d printable ASCII characters", MaxDeviceID)
	case m.ClientID != "" && !printable(m.ClientID, MaxClientID):
		return RefuseField(Invalid, "invalid_request", "client_id", "must be 1 to %d printable ASCII characters", MaxClientID)
	case m.VisibleTo != "" && !m.VisibleTo.Valid():
		return RefuseField(Invalid, "invalid_request", "visible_to", "is not a user id")
	case m.Seq < 0 || m.Seq > maxLineSeq:
		return RefuseField(Invalid, "invalid_request", "seq", "must be 1 to %d", int64(maxLineSeq))
	case m.Type.String() == "":
		return RefuseField(Invalid, "invalid_request", "type", "is not a type of message")
	}
	if m.Burn == nil {
		return nil
	}
	if err := checkTime("burn/burn_at", m.Burn.At); err != nil {
		return err
	}
	return Draft{Burn: m.Burn}.checkTimers()
}

// tombstoneNote checks the erasure of a message and returns its stored form.
func tombstoneNote(m ImportMessage, now time.Time) (*Erasure, error) {
	e := *m.Erased
	switch {
	case e.State == Active || e.State.String() == "":
		return nil, RefuseField(Invalid, "invalid_request", "state", "must say how the message was erased")
	case len(m.Body) > 0:
		return nil, RefuseField(Invalid, "invalid_request", "body", "an erased message has none")
	case len(m.Ext) > 0:
		return nil, RefuseField(Invalid, "invalid_request", "ext", "an erased message has none")
	case len(m.Mentions) > 0 || m.MentionAll:
		return nil, RefuseField(Invalid, "invalid_request", "mentions", "an erased message has none")
	case e.By != "" && !e.By.Valid():
		return nil, RefuseField(Invalid, "invalid_request", "erased/by", "is not a user id")
	}
	var err error
	if e.At, err = pastTime("erased/at", e.At, now); err != nil {
		return nil, err
	}
	note, err := RevokeNote{Postscript: e.Postscript, Extension: e.Extension}.checked()
	if refusal, ok := AsError(err); ok {
		refusal.Field = "erased/" + refusal.Field
	}
	e.Extension = note.Extension
	return &e, err
}

// expiry checks the time at which a message expires and returns its stored form.
func expiry(at, created time.Time) (time.Time, error) {
	if at.IsZero() {
		return at, nil
	}
	at = at.UTC().Truncate(time.Millisecond)
	if after := at.Sub(created); after <= 0 || after > MaxExpireAfter {
		return at, RefuseField(Invalid, "invalid_request", "expires_at", "must be up to %d days after created_at", int(MaxExpireAfter.Hours()/24))
	}
	return at, nil
}

// importedID parses the id of a message; "" is 0.
func importedID(text string) (ID, error) {
	if text == "" {
		return 0, nil
	}
	id, ok := ParseID(text)
	if !ok {
		return 0, RefuseField(Invalid, "invalid_request", "id", "is not an id of this API: leave it out, and name the message by client_id")
	}
	return id, nil
}

// The range of times that can be stored and be part of an id.
var (
	earliest = time.UnixMilli(1)
	latest   = time.UnixMilli(math.MaxInt64 >> idRandomBits)
)

// checkTime refuses a time that cannot be stored. It accepts zero.
func checkTime(field string, at time.Time) error {
	if !at.IsZero() && (at.Before(earliest) || at.After(latest)) {
		return RefuseField(Invalid, "invalid_request", field, "must be from 1970 to %d", latest.Year()-1)
	}
	return nil
}

// pastTime returns the stored form of a time. It refuses zero and a time in the future.
func pastTime(field string, at, now time.Time) (time.Time, error) {
	if at.IsZero() {
		return at, RefuseField(Invalid, "invalid_request", field, "is missing")
	}
	if err := checkTime(field, at); err != nil {
		return at, err
	}
	at = at.UTC().Truncate(time.Millisecond)
	if at.After(now) {
		return at, RefuseField(Invalid, "invalid_request", field, "must not be in the future")
	}
	return at, nil
}

// MaxImportMembers is the maximum number of members of an imported conversation.
const MaxImportMembers = 10000

// PrepareConversation checks a conversation. The policy's limits on retention and members do not
// apply, because the other server may have higher ones. The limits are [MaxRetention] and
// [MaxImportMembers]. A setting that the kind does not have is refused, unless it has the value that
// all conversations of the kind have.
func (s *Service) PrepareConversation(in ImportConversation) Prepared {
	p, err := prepareConversation(in, s.time())
	if err != nil {
		if refusal, ok := AsError(err); ok && refusal.Field != "" {
			refusal.Field = "conversation/" + refusal.Field
		}
		return Refused(err)
	}
	return p
}

func prepareConversation(in ImportConversation, now time.Time) (Prepared, error) {
	if in.ID == "" {
		return Prepared{}, RefuseField(Invalid, "invalid_request", "id", "is missing")
	}
	id, ok := ParseID(in.ID)
	if !ok {
		return Prepared{}, RefuseField(Invalid, "invalid_request", "id", "is not an id of this API: 13 characters from 0-9 and a-v")
	}
	created, err := pastTime("created_at", in.CreatedAt, now)
	if err != nil {
		return Prepared{}, err
	}
	// Do not check against the policy's longest retention, which applies when messages are read:
	// the other server may have a longer one.
	if err := in.Settings.check(Policy{}); err != nil {
		return Prepared{}, err
	}
	c := Conversation{
		ID: id, Kind: in.Kind, Name: in.Name, History: HistoryJoined, Join: JoinClosed, Invite: InviteByAdmins, FirstSeq: 1,
		CreatedAt: created, UpdatedAt: created, EditedAt: created,
	}
	switch in.Kind {
	case Direct:
		c.History = HistoryAll
	case Group:
	case Room:
		c.Join = JoinOpen
	default:
		return Prepared{}, RefuseField(Invalid, "invalid_request", "kind", "is not a kind of conversation")
	}
	settings := in.Settings.besides(c)
	if err := settings.unsupported(in.Kind); err != nil {
		return Prepared{}, err
	}
	c = settings.apply(c)
	members, err := prepareMembers(in, id, created, now)
	if err != nil {
		return Prepared{}, err
	}
	if in.Kind == Direct {
		err = prepareDirect(&c, members)
	} else {
		err = checkGroup(c, members)
	}
	return Prepared{conversation: &c, members: members}, err
}

// prepareDirect checks a direct conversation and completes it.
func prepareDirect(c *Conversation, members []Membership) error {
	if c.Name != "" {
		return RefuseField(Rule, "direct_conversation", "name", "a direct conversation has no name")
	}
	if len(members) != 2 {
		return RefuseField(Rule, "direct_conversation", "members", "a direct conversation has two members")
	}
	for i, m := range members {
		if m.Role != Member || !m.Active() {
			return RefuseField(Rule, "direct_conversation", fmt.Sprintf("members/%d", i), "a direct conversation has no roles and nobody leaves it")
		}
	}
	c.Peers = PeersOf(members[0].User, members[1].User)
	return nil
}

// checkGroup checks a group or room.
func checkGroup(c Conversation, members []Membership) error {
	if err := checkName(c.Name, MaxName); err != nil {
		return err
	}
	owners, active := 0, 0
	for _, m := range members {
		if m.Active() {
			active++
		}
		if m.Role == Owner {
			owners++
		}
	}
	if owners > 1 || active > 0 && owners == 0 {
		return RefuseField(Rule, "one_owner", "members", "a %s has one owner", c.Kind)
	}
	return nil
}

func prepareMembers(in ImportConversation, id ID, created, now time.Time) ([]Membership, error) {
	if len(in.Members) > MaxImportMembers {
		return nil, RefuseField(Invalid, "invalid_request", "members", "at most %d", MaxImportMembers)
	}
	seen := make(map[UserID]bool, len(in.Members))
	out := make([]Membership, len(in.Members))
	for i, m := range in.Members {
		field := fmt.Sprintf("members/%d", i)
		if !m.User.Valid() {
			return nil, RefuseField(Invalid, "invalid_request", field+"/user", "is not a user id")
		}
		if seen[m.User] {
			return nil, RefuseField(Invalid, "invalid_request", field+"/user", "is given twice")
		}
		seen[m.User] = true
		joined := created
		if !m.JoinedAt.IsZero() {
			var err error
			if joined, err = pastTime(field+"/joined_at", m.JoinedAt, now); err != nil {
				return nil, err
			}
		}
		intervals, ok := stays(m)
		if !ok {
			return nil, RefuseField(Invalid, "invalid_request", field+"/stays",
				"must be in ascending order without overlaps, and the last one must have an end if and only if there is no role")
		}
		if m.Left {
			if m.Role != 0 {
				return nil, RefuseField(Invalid, "invalid_request", field+"/left", "is for former members")
			}
			intervals[len(intervals)-1].Left = true
		}
		out[i] = Membership{Conversation: id, User: m.User, Role: m.Role, JoinedAt: joined, Intervals: intervals}
	}
	return out, nil
}

// stays returns the intervals of a member's stays. They have no events: ToEvent is -1 if they
// have ended. It returns false if the stays are inconsistent, or missing for a former member.
func stays(m ImportMember) ([]Interval, bool) {
	list := m.Stays
	if len(list) == 0 && m.Role != 0 {
		list = []SeqRange{{From: 1, To: Lasts}}
	}
	out := make([]Interval, len(list))
	after := int64(0)
	for i, stay := range list {
		lasts := stay.To == Lasts
		if stay.From <= after || stay.From > maxLineSeq || stay.To < stay.From-1 || lasts && i+1 < len(list) {
			return nil, false
		}
		out[i] = Interval{FromSeq: stay.From}
		if !lasts {
			out[i].ToSeq, out[i].ToEvent = stay.To, -1
		}
		after = max(stay.To, stay.From-1)
	}
	if len(out) == 0 {
		return nil, false
	}
	return out, out[len(out)-1].Open() == (m.Role != 0)
}

// errNoQuote refuses a reply_to that is not a message of the conversation.
func errNoQuote() error {
	return RefuseField(Rule, "reply_to_not_found", "reply_to", "is not a message of this conversation")
}
