package im

import (
	"cmp"
	"context"
	"time"
)

// Sent is the result of a send.
type Sent struct {
	Message Message
	// Again is set if the message was sent before, under its client_id.
	Again bool
}

// Send stores a message in a conversation and publishes it to the members. Sending to
// "@user" creates the direct conversation if there is none. With a client_id it is
// idempotent: a repetition returns the first message. The pre-send hook, if there is one, may
// refuse, drop or rewrite the message.
//
// It refuses an invalid draft, a conversation that the actor cannot see or may not send to, a
// client_id of another message or of one that was trimmed or purged, a draft that the conversation
// does not support, an attachment that the actor may not use or that does not fit the body, a reply
// to a message that the actor cannot read, and a message that comes too soon in slow mode.
func (s *Service) Send(ctx context.Context, actor Actor, ref ConversationRef, d Draft) (Sent, error) {
	given, err := d.Content(s.policy.MaxMessageBytes)
	if err != nil {
		return Sent{}, err
	}
	if s.presend.mayAsk(d.Type) {
		return s.sendAsked(ctx, actor, ref, d, given)
	}
	return s.sendSighted(ctx, actor, ref, d, given, ruling{})
}

// send is the part of [Service.Send] in its transaction. It gets the content of the draft and the
// ruling of the hook, which contains the sightings of the attachments.
func (s *Service) send(tx Tx, actor Actor, ref ConversationRef, d Draft, given *Content, by ruling) (Sent, error) {
	a, err := s.admit(tx, actor, ref, d, given, by.seen)
	if err != nil || a.again {
		return Sent{Message: a.first, Again: a.again}, err
	}
	if by.content != nil {
		a.attached, err = s.withAttachments(tx, d.Type, by.content, s.mayAttach(tx, d, actor.User, by.seen))
		if err = cmp.Or(err, a.attached.refusal); err != nil {
			return Sent{}, err
		}
	}
	c, now := a.entry.Conversation, a.at
	if a.spoken != 0 {
		if err := tx.PutSpoke(a.spoken, actor.User, now); err != nil {
			return Sent{}, err
		}
	}
	if c.Kind == Direct && c.MemberCount < len(c.Peers) {
		if c, err = s.openDirect(tx, actor, c, a.me, by, now); err != nil {
			return Sent{}, err
		}
	}
	m := Message{
		ID: s.ids.Next(now), Conversation: c.ID, Sender: actor.User, SenderDevice: actor.Device,
		ClientID: d.ClientID, Type: d.Type, State: Active, ReplyTo: a.replyTo, Receipt: d.Receipt,
		CreatedAt: now, Burn: d.Burn, Content: a.attached.content, Attachments: a.attached.ids,
	}
	after := d.ExpireAfter
	if after == 0 {
		if after, err = expireAfter(tx, c, a.me); err != nil {
			return Sent{}, err
		}
	}
	if after > 0 {
		m.ExpiresAt = now.Add(after)
	}
	if by.drop {
		return s.sendToSender(tx, actor, m)
	}
	m.Seq, _, err = tx.Send(m, Event{
		Type: MessageCreated, At: now, Conversation: c.ID, Actor: actor.User, ActorDevice: actor.Device, Tracked: m.tracked(c),
	})
	if err == nil && c.Kind == Thread {
		err = s.newInThread(tx, actor, c, now)
	}
	return Sent{Message: m}, err
}

// sendToSender stores a message that the hook drops. Only its sender sees it, and their other
// devices get the event.
func (s *Service) sendToSender(tx Tx, actor Actor, m Message) (Sent, error) {
	m.Quiet, m.VisibleTo = true, actor.User
	var err error
	if m.Seq, err = tx.InsertMessage(m); err != nil {
		return Sent{}, err
	}
	_, err = tx.Append(Event{
		Type: MessageCreated, At: m.CreatedAt, Conversation: m.Conversation, To: actor.User, Actor: actor.User,
		ActorDevice: actor.Device, MessageID: m.ID, Seq: m.Seq, Message: &m,
	})
	return Sent{Message: m}, err
}

// admission is what the checks have found out about a message that the rules allow.
type admission struct {
	entry Entry
	me    Access
	// first is the message that was sent before under the same client_id, if again is set.
	first Message
	again bool
	// attached is its content with its attachments, and replyTo the message that it replies
	// to.
	attached attached
	replyTo  ID
	// at is the time of the message, and spoken the conversation in whose slow mode it counts, 0
	// for none.
	at     time.Time
	spoken ID
}

// admit checks the rules for a message with this content, or finds the one that it repeats.
// seen are the sightings of its attachments; nil searches for them.
func (s *Service) admit(r Reader, actor Actor, ref ConversationRef, d Draft, given *Content, seen *sightings) (admission, error) {
	e, me, err := s.destination(r, actor, ref, d)
	if err != nil {
		return admission{}, err
	}
	c := e.Conversation
	first, again, gone, err := firstSent(r, e)
	if err != nil {
		return admission{}, err
	}
	att, err := s.withAttachments(r, d.Type, given, s.mayAttach(r, d, actor.User, seen))
	if err != nil {
		return admission{}, err
	}
	if first = s.asOf(c, first); again && first.sameAs(c, att.content, given) {
		return admission{first: first, again: true}, nil
	}
	if d.admin == "" {
		if e.Blocked {
			return admission{}, errBlocked()
		}
		if err := allowSend(c, me, d); err != nil {
			return admission{}, err
		}
	}
	if gone {
		return admission{}, errGone("client_id")
	}
	if again {
		return admission{}, RefuseField(Conflict, "client_id_reused", "client_id", "was used for another of your messages")
	}
	if err := s.checkSupported(c, d); err != nil {
		return admission{}, err
	}
	if att.refusal != nil {
		return admission{}, att.refusal
	}
	a := admission{entry: e, me: me, attached: att, at: s.time()}
	if a.replyTo, err = s.quoted(r, actor, c, d.ReplyTo); err != nil {
		return admission{}, err
	}
	if d.admin == "" {
		a.spoken, err = checkSlowMode(r, c, me, a.at)
	}
	return a, err
}

// destination returns the entry of the conversation that a message goes to. A direct conversation
// that does not exist yet has no ID. One may exist although the actor is not a member, if all
// messages in it were dropped. If an admin sends for the actor, the actor need not see a
// conversation that is not a direct one.
func (s *Service) destination(r Reader, actor Actor, ref ConversationRef, d Draft) (Entry, Access, error) {
	clientID := d.ClientID
	e, me, err := s.enterAs(r, actor, ref, clientID)
	if refusal, ok := AsError(err); !ok || refusal.Kind != NotFound {
		return e, me, err
	}
	if ref.Peer == "" {
		c := e.Conversation
		if d.admin != "" && c.ID != 0 && c.DeletedAt.IsZero() && c.Kind != Direct && c.Kind != Space {
			return e, me, nil
		}
		return e, me, err
	}
	me = newDirectAccess(actor.User)
	if e.Conversation.ID != 0 {
		return e, me, nil
	}
	e = Entry{Conversation: Conversation{Kind: Direct, Peers: PeersOf(actor.User, ref.Peer)}}
	if e.Blocked, err = r.Blocked(ref.Peer, actor.User); err != nil || clientID == "" {
		return e, me, err
	}
	first, found, err := maybe(r.MessageByClientID(actor.User, clientID))
	if err != nil || found {
		e.Sent = first.ID
		return e, me, err
	}
	gone, err := r.GoneAs([]ClientKey{{Sender: actor.User, ClientID: clientID}})
	e.Gone = len(gone) > 0
	return e, me, err
}

// allowSend refuses a draft that needs a permission that its sender lacks.
func allowSend(c Conversation, me Access, d Draft) error {
	if err := allowSpeaking(c, me, PermissionSend); err != nil {
		return err
	}
	if d.MentionAll {
		return allow(c, me, PermissionMentionAll)
	}
	return nil
}

// allowSpeaking is allow for permissions that a mute takes away. Its refusal gives the reason why
// the user lacks them.
func allowSpeaking(c Conversation, me Access, p Permissions) error {
	if me.Can(p) {
		return nil
	}
	why := ""
	switch {
	case !me.mutedUntil.IsZero():
		why = ": you are muted"
	case c.MuteAll:
		why = ": all members are muted"
	case me.CanPreview() && !me.IsMember():
		why = ": join the thread first"
	}
	return Refuse(Forbidden, "permission_denied", "you need the permission %s here%s", p, why)
}

// slowDown refuses an action that comes too soon after the user's previous one, and
// otherwise stores its time. Slow mode counts sending, and creating and renaming threads,
// in a conversation and its threads together.
func slowDown(tx Tx, c Conversation, me Access, now time.Time) error {
	spoken, err := checkSlowMode(tx, c, me, now)
	if err != nil || spoken == 0 {
		return err
	}
	return tx.PutSpoke(spoken, me.user, now)
}

// checkSlowMode is slowDown without storing the time. It returns the conversation for which the
// caller must store the time, 0 if there is no slow mode.
func checkSlowMode(r Reader, c Conversation, me Access, now time.Time) (ID, error) {
	if me.slowMode == 0 {
		return 0, nil
	}
	whole := c.ID
	if c.Kind == Thread {
		whole = c.Parent
	}
	last, _, err := r.Spoke(whole, me.user)
	if err != nil {
		return 0, err
	}
	for _, id := range unique([]ID{whole, c.ID}) { // including messages from before slow mode was set
		sent, found, err := r.LastSent(id, me.user)
		if err != nil {
			return 0, err
		}
		if found && sent.After(last) {
			last = sent
		}
	}
	wait := last.Add(me.slowMode).Sub(now)
	if wait > 0 && wait <= me.slowMode { // a longer wait means that the clock was set back
		refusal := Refuse(TooMany, "slow_mode", "slow mode allows you one message every %d seconds here", int(me.slowMode.Seconds()))
		refusal.RetryAfter = wait
		return 0, refusal
	}
	return whole, nil
}

// expireAfter returns the time from sending until messages without an expiry of their own expire:
// the setting of the conversation, or of a thread's parent.
func expireAfter(r ConversationReader, c Conversation, me Access) (time.Duration, error) {
	switch {
	case c.Kind != Thread:
		return c.ExpireAfter, nil
	case len(me.ancestors) > 0:
		return me.ancestors[0].ExpireAfter, nil
	}
	parent, err := r.Conversation(c.Parent)
	return parent.ExpireAfter, err
}

// checkSupported refuses a draft that the conversation does not support.
func (s *Service) checkSupported(c Conversation, d Draft) error {
	if err := checkKind(c.Kind, d.Burn != nil, d.Receipt); err != nil {
		return err
	}
	if d.Receipt && c.Kind != Direct && c.MemberCount > s.policy.MaxReceiptMembers {
		return RefuseField(Rule, "too_many_for_receipts", "receipt", "receipts are for groups of at most %d members", s.policy.MaxReceiptMembers)
	}
	return nil
}

// checkKind refuses a message that burns or asks for a receipt in a kind of conversation without
// that.
func checkKind(k Kind, burns, receipt bool) error {
	switch {
	case burns && k != Direct:
		return RefuseField(Rule, "burn_unsupported", "burn", "only direct messages burn")
	case receipt && (k == Room || k == Channel):
		return RefuseField(Rule, "receipts_unsupported", "receipt", "a %s has no receipts", k)
	default:
		return nil
	}
}

// sameAs reports whether sending a draft to c repeats m. given is the content of the draft, and
// content the same with its attachments. If m is erased, its content is no longer known and any
// content counts as a repetition.
func (m Message) sameAs(c Conversation, content, given *Content) bool {
	return m.Conversation == c.ID && (m.Content == nil || m.Content.SentAs(content.Sent) || m.Content.rewrittenFrom(given))
}

// quoted returns the id of the message that the draft replies to, 0 if it is not a reply. It
// refuses a message that is in another conversation, that the actor cannot read, or that only one
// user sees.
func (s *Service) quoted(r Reader, actor Actor, c Conversation, replyTo string) (ID, error) {
	if replyTo == "" {
		return 0, nil
	}
	refusal := RefuseField(Rule, "reply_to_not_found", "reply_to", "is not a message of this conversation that you can read")
	id, ok := ParseID(replyTo)
	if !ok || c.ID == 0 {
		return 0, refusal
	}
	_, _, q, err := s.readable(r, actor, id)
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		return 0, refusal
	}
	if err != nil {
		return 0, err
	}
	if q.Conversation != c.ID || q.VisibleTo != "" { // other members might not see what it replies to
		return 0, refusal
	}
	return id, nil
}

// openDirect makes both users of a direct conversation members, and creates it if it does not
// exist. A dropped message makes only its sender a member: the other user learns of the
// conversation with the first message that they can see.
func (s *Service) openDirect(tx Tx, actor Actor, c Conversation, me Access, by ruling, now time.Time) (Conversation, error) {
	if c.ID == 0 {
		fresh, err := s.newConversation(tx, defaults(Direct, actor), now)
		if err != nil {
			return c, err
		}
		fresh.Peers = c.Peers
		c = fresh
		if !by.drop {
			return c, s.create(tx, actor, c, []Membership{
				{Conversation: c.ID, User: c.Peers[0], Role: Member, JoinedAt: now},
				{Conversation: c.ID, User: c.Peers[1], Role: Member, JoinedAt: now},
			})
		}
		if err := tx.CreateConversation(c); err != nil {
			return c, err
		}
	}
	switch {
	case !me.IsMember():
		return c, s.openTo(tx, actor, c, actor.User, now)
	case by.drop:
		return c, nil
	default:
		return c, s.openTo(tx, actor, c, c.Peer(actor.User), now)
	}
}

// openTo makes a user a member of a direct conversation and publishes that to them.
func (s *Service) openTo(tx Tx, actor Actor, c Conversation, user UserID, now time.Time) error {
	e := c.event(created, actor, now)
	e.To = user
	at, err := tx.Append(e)
	if err != nil {
		return err
	}
	return tx.AddMember(Membership{Conversation: c.ID, User: user, Role: Member, JoinedAt: now}, at)
}

// create stores a conversation with its first members and publishes that to them.
func (s *Service) create(tx Tx, actor Actor, c Conversation, members []Membership) error {
	if err := tx.CreateConversation(c); err != nil {
		return err
	}
	at, err := tx.Append(c.event(created, actor, c.CreatedAt))
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := tx.AddMember(m, at); err != nil {
			return err
		}
	}
	return nil
}
