package im

import (
	"context"
)

// readableAttachment returns an attachment that a user may read, and the message in which they
// see it. A user may read their own orphans that are not past their retention, for which the
// message is 0, and the attachments of active messages that they can read. Any other attachment is
// refused as unknown. If seen is not 0, it is the message to try first.
func (s *Service) readableAttachment(r Reader, user UserID, id, seen ID) (a Attachment, in ID, err error) {
	a, found, err := maybe(r.Attachment(id))
	if err == nil && found {
		if a.References == 0 {
			found = a.Uploader == user && !a.CreatedAt.Before(orphanCutoff(s.time()))
		} else {
			in, err = s.seesAttachment(r, user, id, seen)
			found = in != 0
		}
	}
	if err == nil && !found {
		err = errUnknownAttachment()
	}
	return a, in, err
}

// referencesPage is the number of messages with an attachment that are read at once.
const referencesPage = 100

// seesAttachment returns an active message with the attachment that a user can read, 0 if there is
// none. If seen is not 0, it tries that message first. It may look at [MaxReferences] messages, so
// no transaction that writes may call it.
func (s *Service) seesAttachment(r Reader, user UserID, id, seen ID) (ID, error) {
	known := s.newAccessCache(r, user)
	if seen != 0 {
		if still, err := s.stillSees(r, known, seen); err != nil || still {
			return seen, err
		}
	}
	for past := ID(0); ; {
		list, err := r.MessagesWith(id, user, past, referencesPage)
		if err != nil {
			return 0, err
		}
		for _, m := range list {
			if sees, err := s.seesActive(r, known, m); err != nil || sees {
				return m.ID, err
			}
		}
		if len(list) < referencesPage {
			return 0, nil
		}
		past = list[len(list)-1].ID
	}
}

// stillSees reports whether a message is active and a user can read it. The attachments of an
// active message never change.
func (s *Service) stillSees(r Reader, known accessCache, id ID) (bool, error) {
	m, found, err := maybe(r.Message(id))
	if err != nil || !found {
		return false, err
	}
	return s.seesActive(r, known, m)
}

// seesActive reports whether a message is active and a user can read it.
func (s *Service) seesActive(r Reader, known accessCache, m Message) (bool, error) {
	c, me, err := known.access(m.Conversation)
	if err != nil || !c.DeletedAt.IsZero() || !me.Can(PermissionView) || s.asOf(c, m).State != Active {
		return false, err
	}
	return s.sees(r, c, me, m)
}

// sightings are the messages in which a sender sees attachments that others uploaded. They are
// found before the transaction that stores a message with these attachments. The transaction checks
// only these messages: a search through all messages with an attachment would hold up every other
// sender.
type sightings struct {
	in map[ID]ID // the message, by attachment
	// outdated is set when a message was erased, or the sender lost access to it, after the
	// search.
	outdated bool
}

// sightingTries is the maximum number of searches for messages with the sender's attachments. A
// search is repeated if, before the transaction, a message that it found is erased or the sender
// loses access to it.
const sightingTries = 4

// sendSighted stores a message as [Service.send] does. It searches for the attachments of the
// message first.
func (s *Service) sendSighted(ctx context.Context, actor Actor, ref ConversationRef, d Draft, given *Content, by ruling) (sent Sent, err error) {
	for range sightingTries {
		by.seen, err = s.findSightings(ctx, d, actor.User, given, by.content)
		if err != nil {
			return Sent{}, err
		}
		sent, err = write(ctx, s, func(tx Tx) (Sent, error) { return s.send(tx, actor, ref, d, given, by) })
		if err == nil || !by.seen.outdated {
			break
		}
	}
	return sent, err
}

// findSightings searches for messages with the attachments that neither the sender of a draft nor
// an admin who sends it has uploaded. Contents may be nil.
func (s *Service) findSightings(ctx context.Context, d Draft, sender UserID, contents ...*Content) (*sightings, error) {
	seen := &sightings{}
	if !d.Type.HasAttachment() {
		return seen, nil
	}
	return seen, s.read(ctx, func(r Reader) error {
		seen.in = make(map[ID]ID)
		for _, content := range contents {
			if content == nil {
				continue
			}
			b, err := parseAttachmentBody(content.Body)
			if err != nil {
				continue // the transaction refuses it
			}
			for _, id := range []ID{b.attachment, b.thumbnail} {
				if err := s.findSighting(r, d, sender, id, seen); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// findSighting adds the sighting of an attachment, if the attachment needs a sighting and has one.
func (s *Service) findSighting(r Reader, d Draft, sender UserID, id ID, seen *sightings) error {
	a, found, err := maybe(r.Attachment(id))
	if err != nil || !found || d.uploadedFor(a, sender) {
		return err
	}
	in, err := s.seesAttachment(r, sender, id, 0)
	if err == nil && in != 0 {
		seen.in[id] = in
	}
	return err
}

// uploadedFor reports whether the sender of a draft, or the admin who sends it for them, has
// uploaded an attachment.
func (d Draft) uploadedFor(a Attachment, sender UserID) bool {
	return a.Uploader == sender || d.admin != "" && a.Uploader == d.admin
}

// mayAttach returns the rule for the attachments of a draft: its sender, or the admin who sends
// it for them, must have uploaded them, or the sender must be able to read them. An uploaded orphan
// must not be past its retention. seen are the sightings of the sender, which the rule may set to
// outdated; nil searches for them.
func (s *Service) mayAttach(r Reader, d Draft, sender UserID, seen *sightings) func(Attachment) (bool, error) {
	return func(a Attachment) (bool, error) {
		switch {
		case d.uploadedFor(a, sender):
			return a.References > 0 || !a.CreatedAt.Before(orphanCutoff(s.time())), nil
		case seen == nil:
			in, err := s.seesAttachment(r, sender, a.ID, 0)
			return in != 0, err
		case seen.in[a.ID] == 0:
			return false, nil
		default:
			still, err := s.stillSees(r, s.newAccessCache(r, sender), seen.in[a.ID])
			seen.outdated = seen.outdated || err == nil && !still
			return still, err
		}
	}
}
