package im

import "time"

// Counts are the fields of [Conversation] that change with each stored message, and
// ListedID.
type Counts struct {
	LastSeq, FirstSeq, Counted    int64
	UpdatedAt, ListedAt, OldestAt time.Time
	// ListedID is the greatest id of the messages that ListedAt takes into account.
	ListedID ID
}

// With returns the counts after a message is stored. LastSeq is then its seq: the next one,
// or m.Seq if that is greater. A quiet message is not counted. A quiet message that only one user
// can see changes neither UpdatedAt nor ListedAt.
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

// laterOf returns the later of two times.
func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// MembersFrom returns the id of the conversation or space that holds the members of c: the space of
// a channel, otherwise c itself. A message mentions only users who are members when it is sent.
func MembersFrom(c Conversation) ID {
	if c.Kind == Channel {
		return c.Space
	}
	return c.ID
}

// Mentioning returns the users whose count of unread mentions a message raises, if they are
// members, and whether it mentions all members. It never mentions its sender. A message
// that is quiet, erased or visible to one user mentions nobody.
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
