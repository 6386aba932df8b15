package im

import "time"

// Counts are what a conversation keeps of its messages and each that is stored changes:
// fields of [Conversation], but for ListedID.
type Counts struct {
	LastSeq, FirstSeq, Counted    int64
	UpdatedAt, ListedAt, OldestAt time.Time
	// ListedID is the greatest id of the messages that ListedAt takes into account.
	ListedID ID
}

// With returns the counts once a message is stored, whose seq is then LastSeq: the next
// one, or a greater one that the message has already. A quiet message is counted by
// nobody, and one of those that only one member sees is no news in the conversation.
func (c Counts) With(m Message) Counts {
	empty := c.FirstSeq > c.LastSeq
	c.LastSeq = max(c.LastSeq+1, m.Seq)
	switch {
	case !m.Quiet:
		c.Counted, c.UpdatedAt = c.Counted+1, m.CreatedAt
	case m.VisibleTo == "":
		c.UpdatedAt = laterOf(c.UpdatedAt, m.CreatedAt)
	}
	if !m.Quiet || m.VisibleTo == "" {
		c.ListedAt, c.ListedID = laterOf(c.ListedAt, m.CreatedAt), max(c.ListedID, m.ID)
	}
	switch {
	case empty:
		c.OldestAt, c.FirstSeq = m.CreatedAt, c.LastSeq
	case m.CreatedAt.Before(c.OldestAt):
		c.OldestAt = m.CreatedAt
	}
	return c
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// MembersFrom returns the id of the conversation that has the members of c: of a channel
// its space, else c itself. A message mentions only users who are members when it is sent.
func MembersFrom(c Conversation) ID {
	if c.Kind == Channel {
		return c.Space
	}
	return c.ID
}

// Mentioning returns whom a message mentions as far as unread counts go: nobody if it is
// quiet, for one member alone or was erased, and never its sender. Of the users the
// members count. Everyone are all members but the sender.
func (m Message) Mentioning() (users []UserID, everyone bool) {
	if m.Quiet || m.VisibleTo != "" || m.Content == nil {
		return nil, false
	}
	for _, u := range m.Content.Mentions {
		if u != m.Sender {
			users = append(users, u)
		}
	}
	return users, m.Content.MentionAll
}
