package im

import (
	"bytes"
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
// idempotent: a repetition returns the first message.
//
// It refuses an invalid draft, a conversation that the actor cannot see or may not send to,
// a client_id of another message or of one that was trimmed or purged, and a draft that the
// conversation does not support.
func (s *Service) Send(ctx context.Context, actor Actor, ref ConversationRef, d Draft) (Sent, error) {
	given, err := d.Content(s.policy.MaxMessageBytes)
	if err != nil {
		return Sent{}, err
	}
	return write(ctx, s, func(tx Tx) (Sent, error) {
		e, me, err := s.destination(tx, actor, ref, d.ClientID)
		if err != nil {
			return Sent{}, err
		}
		c := e.Conversation
		first, again, gone, err := firstSent(tx, e)
		if err != nil {
			return Sent{}, err
		}
		att, err := s.withAttachments(tx, d.Type, given, s.mayAttach(tx, actor.User, actor.User))
		if err != nil {
			return Sent{}, err
		}
		content := att.content
		if first = s.asOf(c, first); again && first.sameAs(c, content) {
			return Sent{Message: first, Again: true}, nil
		}
		if e.Blocked {
			return Sent{}, errBlocked()
		}
		if err := allowSend(c, me, d); err != nil {
			return Sent{}, err
		}
		if gone {
			return Sent{}, errGone("client_id")
		}
		if again {
			return Sent{}, RefuseField(Conflict, "client_id_reused", "client_id", "was used for another message of yours")
		}
		if err := s.checkSupported(c, d); err != nil {
			return Sent{}, err
		}
		if att.refusal != nil {
			return Sent{}, att.refusal
		}
		replyTo, err := s.quoted(tx, actor, c, d.ReplyTo)
		if err != nil {
			return Sent{}, err
		}

		now := s.time()
		if err := slowDown(tx, c, me, now); err != nil {
			return Sent{}, err
		}
		if c.ID == 0 {
			if c, err = s.createDirect(tx, actor, c, now); err != nil {
				return Sent{}, err
			}
		}
		m := Message{
			ID: s.ids.Next(now), Conversation: c.ID, Sender: actor.User, SenderDevice: actor.Device,
			ClientID: d.ClientID, Type: d.Type, State: Active, ReplyTo: replyTo, Receipt: d.Receipt,
			CreatedAt: now, Burn: d.Burn, Content: content, Attachments: att.ids,
		}
		if after := cmp.Or(d.ExpireAfter, expireAfter(c, me)); after > 0 {
			m.ExpiresAt = now.Add(after)
		}
		m.Seq, _, err = tx.Send(m, Event{
			Type: MessageCreated, At: now, Conversation: c.ID, Actor: actor.User, ActorDevice: actor.Device, Tracked: m.tracked(c),
		})
		if err == nil && c.Kind == Thread {
			err = s.newInThread(tx, actor, c, now)
		}
		return Sent{Message: m}, err
	})
}

// destination returns the entry of the conversation that a message goes to. A direct
// conversation that does not exist yet has no ID.
func (s *Service) destination(tx Tx, actor Actor, ref ConversationRef, clientID string) (Entry, Access, error) {
	e, me, err := s.enterAs(tx, actor, ref, clientID)
	if refusal, ok := AsError(err); !ok || refusal.Kind != NotFound || ref.Peer == "" {
		return e, me, err
	}
	e, me = Entry{Conversation: Conversation{Kind: Direct, Peers: PeersOf(actor.User, ref.Peer)}}, newDirectAccess(actor.User)
	if e.Blocked, err = tx.Blocked(ref.Peer, actor.User); err != nil || clientID == "" {
		return e, me, err
	}
	first, found, err := maybe(tx.MessageByClientID(actor.User, clientID))
	if err != nil || found {
		e.Sent = first.ID
		return e, me, err
	}
	gone, err := tx.GoneAs([]ClientKey{{Sender: actor.User, ClientID: clientID}})
	e.Gone = len(gone) > 0
	return e, me, err
}

// allowSend refuses a draft that needs a permission that its sender lacks.
func allowSend(c Conversation, me Access, d Draft) error {
	if err := allowSpeaking(c, me, PermissionSend); err != nil {
		return err
	}
	if d.MentionAll {
		return Allow(c, me, PermissionMentionAll)
	}
	return nil
}

// allowSpeaking is Allow for permissions that a mute takes away. Its refusal says why the user
// lacks them.
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
	if me.slowMode == 0 {
		return nil
	}
	whole := c.ID
	if c.Kind == Thread {
		whole = c.Parent
	}
	last, _, err := tx.Spoke(whole, me.user)
	if err != nil {
		return err
	}
	for _, id := range unique([]ID{whole, c.ID}) { // also messages from before slow mode was set
		sent, found, err := tx.LastSent(id, me.user)
		if err != nil {
			return err
		}
		if found && sent.After(last) {
			last = sent
		}
	}
	wait := last.Add(me.slowMode).Sub(now)
	if wait > 0 && wait <= me.slowMode { // if it is longer, the clock was set back
		refusal := Refuse(TooMany, "slow_mode", "one message in %d seconds here", int(me.slowMode.Seconds()))
		refusal.RetryAfter = wait
		return refusal
	}
	return tx.PutSpoke(whole, me.user, now)
}

// expireAfter returns how long after being sent messages expire that have no setting of
// their own: by the conversation's setting, or by that of a thread's parent.
func expireAfter(c Conversation, me Access) time.Duration {
	if c.Kind == Thread && len(me.ancestors) > 0 {
		return me.ancestors[0].ExpireAfter
	}
	return c.ExpireAfter
}

// checkSupported refuses a draft that the conversation does not support.
func (s *Service) checkSupported(c Conversation, d Draft) error {
	switch {
	case d.Burn != nil && c.Kind != Direct:
		return RefuseField(Rule, "burn_unsupported", "burn", "only direct messages burn")
	case d.Receipt && (c.Kind == Room || c.Kind == Channel):
		return RefuseField(Rule, "receipts_unsupported", "receipt", "a %s has no receipts", c.Kind)
	case d.Receipt && c.Kind != Direct && c.MemberCount > s.policy.MaxReceiptMembers:
		return RefuseField(Rule, "too_many_for_receipts", "receipt", "receipts are for groups of at most %d members", s.policy.MaxReceiptMembers)
	default:
		return nil
	}
}

// sameAs reports whether sending the content to c repeats m. If m is erased, its content is
// no longer known and any content counts as a repetition.
func (m Message) sameAs(c Conversation, content *Content) bool {
	return m.Conversation == c.ID && (m.Content == nil || bytes.Equal(m.Content.Sent, content.Sent))
}

// quoted returns the id of the message that is replied to. It refuses one that is in another
// conversation or that the actor cannot read.
func (s *Service) quoted(tx Tx, actor Actor, c Conversation, replyTo string) (ID, error) {
	if replyTo == "" {
		return 0, nil
	}
	refusal := RefuseField(Rule, "reply_to_not_found", "reply_to", "is not a message of this conversation that you can read")
	id, ok := ParseID(replyTo)
	if !ok || c.ID == 0 {
		return 0, refusal
	}
	_, _, q, err := s.readable(tx, actor, id)
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		return 0, refusal
	}
	if err != nil {
		return 0, err
	}
	if q.Conversation != c.ID || q.VisibleTo != "" { // other members cannot see that one
		return 0, refusal
	}
	return id, nil
}

// createDirect creates the direct conversation of a first message.
func (s *Service) createDirect(tx Tx, actor Actor, c Conversation, now time.Time) (Conversation, error) {
	peers := c.Peers
	c, err := s.newConversation(tx, Direct, actor, now)
	if err != nil {
		return c, err
	}
	c.Peers = peers
	return c, s.create(tx, actor, c, []Membership{
		{Conversation: c.ID, User: c.Peers[0], Role: Member, JoinedAt: now},
		{Conversation: c.ID, User: c.Peers[1], Role: Member, JoinedAt: now},
	})
}

// create stores a conversation with its first members and publishes it to them.
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
