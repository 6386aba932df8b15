package im

import "context"

// Conversation returns one that the actor is a member of.
func (s *Service) Conversation(ctx context.Context, actor Actor, ref ConversationRef) (ConversationView, error) {
	return view(ctx, s, func(r Reader) (ConversationView, error) {
		c, m, err := enter(r, actor, ref)
		if err != nil {
			return ConversationView{}, err
		}
		return s.look(r, c, m)
	})
}

// Conversations returns a page of those that the actor is a member of, by last
// activity, newest first, that come after the one of the page before; nil
// begins.
func (s *Service) Conversations(ctx context.Context, actor Actor, before *Conversation, limit int) ([]ConversationView, error) {
	return view(ctx, s, func(r Reader) ([]ConversationView, error) {
		list, err := r.Conversations(actor.User, before, limit)
		if err != nil {
			return nil, err
		}
		views := make([]ConversationView, len(list))
		for i, c := range list {
			m, err := r.Membership(c.ID, actor.User)
			if err != nil {
				return nil, err
			}
			if views[i], err = s.look(r, c, m); err != nil {
				return nil, err
			}
		}
		return views, nil
	})
}

// seen loads a conversation as the actor sees it after a change.
func (s *Service) seen(r Reader, actor Actor, id ID) (ConversationView, error) {
	c, m, err := enter(r, actor, ConversationRef{ID: id})
	if err != nil {
		return ConversationView{}, err
	}
	return s.look(r, c, m)
}

// look completes a conversation to what its member m sees of it.
func (s *Service) look(r Reader, c Conversation, m Membership) (ConversationView, error) {
	v := ConversationView{Conversation: c, Me: m}
	ranges := m.Visible(c)
	if len(ranges) == 0 {
		return v, nil
	}
	page, err := s.history(r, HistoryQuery{Conversation: c.ID, Ranges: ranges, Limit: 1})
	if err != nil {
		return v, err
	}
	if len(page.Messages) > 0 {
		v.LastMessage = &page.Messages[0]
	}
	return v, nil
}
