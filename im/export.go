package im

import (
	"context"
	"slices"
	"strings"

	"github.com/imapi/imapi/seqs"
)

// ExportLine is one line of an export: a conversation with its current and former members,
// or a message.
type ExportLine struct {
	// Conversation is nil in the line of a message.
	Conversation *Conversation
	// Members are in the order of their user ids. JoinedAt is zero for former members.
	Members []Membership
	Message *Message
}

// exportPage is the maximum number of conversations, members or messages that one read of an export
// returns.
const exportPage = 500

// Export calls write with each direct conversation, group and room, in the order of their ids, each
// followed by its messages, in the order of their seqs. If only is not 0, it exports only that
// conversation. It leaves out messages past retention; a message that is due is exported as a
// tombstone. Each call of write gets a conversation with its members, or the messages of one read,
// and no read is open during the call. Export refuses an actor who is not an admin and, if only is
// not 0, a conversation that is unknown, deleted or of another kind. It returns an error of write
// unchanged.
func (s *Service) Export(ctx context.Context, actor Actor, only ID, write func([]ExportLine) error) error {
	if !actor.Admin {
		return errNotAdmin()
	}
	if only != 0 {
		found, err := s.exportConversation(ctx, only, write)
		if err == nil && !found {
			err = errUnknownConversation()
		}
		return err
	}
	var after ID
	for {
		ids, err := view(ctx, s, func(r Reader) ([]ID, error) { return r.ConversationIDs(after, exportPage) })
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if _, err := s.exportConversation(ctx, id, write); err != nil {
				return err
			}
		}
		after = ids[len(ids)-1]
	}
}

// exportConversation exports one conversation. It returns false if there is none with this id, or it
// was deleted or is of a kind that is not exported.
func (s *Service) exportConversation(ctx context.Context, id ID, write func([]ExportLine) error) (bool, error) {
	head, err := s.exportHead(ctx, id)
	if err != nil || head.Conversation == nil {
		return false, err
	}
	if err := write([]ExportLine{head}); err != nil {
		return true, err
	}
	// The members' intervals are as of the head: later messages are not exported.
	for after, last := int64(0), head.Conversation.LastSeq; after < last; {
		var lines []ExportLine
		if lines, after, err = s.exportMessages(ctx, id, after, last); err != nil {
			return true, err
		}
		if len(lines) > 0 {
			if err := write(lines); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// exportHead returns a conversation and its members, in several short reads, because there
// may be very many. The ends of their intervals are limited to the last exported message,
// from which an import continues.
func (s *Service) exportHead(ctx context.Context, id ID) (head ExportLine, err error) {
	err = s.read(ctx, func(r Reader) error {
		c, found, err := maybe(r.Conversation(id))
		if err != nil || !found || !c.DeletedAt.IsZero() || !exported(c.Kind) {
			return err
		}
		c.LastSeq, err = s.lastKept(r, c)
		head.Conversation = &c
		return err
	})
	if err != nil || head.Conversation == nil {
		return ExportLine{}, err
	}
	for after := UserID(""); ; {
		page, err := view(ctx, s, func(r Reader) ([]Membership, error) { return r.EveryMembership(id, after, exportPage) })
		if err != nil {
			return ExportLine{}, err
		}
		head.Members = append(head.Members, page...)
		if len(page) < exportPage {
			break
		}
		after = page[len(page)-1].User
	}
	last := head.Conversation.LastSeq
	head.Members = withPeers(*head.Conversation, head.Members)
	slices.SortFunc(head.Members, func(a, b Membership) int { return strings.Compare(string(a.User), string(b.User)) })
	for i := range head.Members {
		for j := range head.Members[i].Intervals {
			stay := &head.Members[i].Intervals[j]
			stay.FromSeq = min(stay.FromSeq, last+1)
			if !stay.Open() {
				stay.ToSeq = min(stay.ToSeq, last)
			}
		}
	}
	return head, nil
}

// withPeers returns the members of a conversation with both users of a direct one. If the hook
// dropped all messages of one user, the other is not a member yet, but an import needs two.
func withPeers(c Conversation, members []Membership) []Membership {
	if c.Kind != Direct {
		return members
	}
	for _, user := range c.Peers {
		if !slices.ContainsFunc(members, func(m Membership) bool { return m.User == user }) {
			members = append(members, Membership{
				Conversation: c.ID, User: user, Role: Member, JoinedAt: c.CreatedAt, Intervals: []Interval{{FromSeq: 1}},
			})
		}
	}
	return members
}

// exported reports whether conversations of a kind are exported: those without a parent, except
// spaces.
func exported(k Kind) bool { return k == Direct || k == Group || k == Room }

// lastKept returns the seq of the last message that is not past retention, 0 if there is
// none.
func (s *Service) lastKept(r MessageReader, c Conversation) (int64, error) {
	if c.LastSeq == 0 {
		return 0, nil
	}
	q := HistoryQuery{Conversation: c.ID, Ranges: seqs.Set{{From: 1, To: c.LastSeq}}, Since: s.cutoff(c), Limit: 1}
	for {
		page, err := r.Messages(q)
		if err != nil {
			return 0, err
		}
		if len(page.Messages) > 0 {
			return page.Messages[0].Seq, nil
		}
		if page.Next == nil {
			return 0, nil
		}
		q.Past = page.Next
	}
}

// exportMessages returns messages with after < seq <= last, and the seq up to which it has
// read.
func (s *Service) exportMessages(ctx context.Context, id ID, after, last int64) (lines []ExportLine, through int64, err error) {
	err = s.read(ctx, func(r Reader) error {
		lines, through = nil, last
		c, found, err := maybe(r.Conversation(id))
		if err != nil || !found || !c.DeletedAt.IsZero() {
			return err // deleted in the meantime, so there are no more
		}
		page, err := s.history(r, HistoryQuery{
			Conversation: id, Ranges: seqs.Set{{From: after + 1, To: last}}, Since: s.cutoff(c), Ascending: true, Limit: exportPage,
		})
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if m.ReplyTo, err = s.exportedQuote(r, c, m.ReplyTo); err != nil {
				return err
			}
			if checkKind(c.Kind, false, m.Receipt) != nil {
				m.Receipt = false // stored by an import that did not refuse it yet
			}
			lines = append(lines, ExportLine{Message: &m})
		}
		if page.Next != nil {
			through = page.Next.Seq
		}
		return nil
	})
	return lines, through, err
}

// exportedQuote returns id if the quoted message with this id is exported, too, and otherwise 0,
// because an import refuses other ids.
func (s *Service) exportedQuote(r MessageReader, c Conversation, id ID) (ID, error) {
	if id == 0 {
		return 0, nil
	}
	m, found, err := maybe(r.Message(id))
	if err != nil || !found || m.Conversation != c.ID || m.CreatedAt.Before(s.cutoff(c)) {
		return 0, err
	}
	return id, nil
}
