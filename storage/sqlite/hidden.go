package sqlite

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

const (
	selectHides  = "SELECT EXISTS (SELECT 1 FROM seq_ranges INDEXED BY seq_ranges_hidden WHERE kind = {hidden_range} AND user_id = ?1)"
	selectHidden = "SELECT to_seq" + ofRanges + "AND from_seq <= ?4 ORDER BY from_seq DESC LIMIT 1"
	// selectHiding finds the users whose marks hide a message of seq ?2 and time ?3.
	selectHiding = `SELECT u.name FROM marks k INDEXED BY marks_hiding CROSS JOIN users u ON u.id = k.user_id
		WHERE k.conversation_id = ?1 AND k.hidden_at IS NOT NULL AND (k.hidden_seq >= ?2 OR k.hidden_before > ?3)`
	selectHiddenSince = `SELECT conversation_id, at, from_seq, to_seq FROM seq_ranges INDEXED BY seq_ranges_hidden
		WHERE kind = {hidden_range} AND user_id = ? AND at >= ? ORDER BY at DESC LIMIT ?`
	selectMarksSince = `SELECT conversation_id, hidden_at, hidden_seq, hidden_before FROM marks INDEXED BY marks_hidden
		WHERE user_id = ? AND hidden_at >= ? ORDER BY hidden_at DESC LIMIT ?`
	// Each of the following statements reads a bounded number of candidates and returns
	// whether each qualifies.

	// selectGoneSince finds conversations that a member has hidden and that have no new
	// message since.
	selectGoneSince = `SELECT k.conversation_id, k.changed_at, 0, 0, c.deleted_at IS NULL AND k.gone_counted >= c.counted
			AND EXISTS (SELECT 1 FROM members WHERE conversation_id = k.conversation_id AND user_id = ?1)
		FROM marks k INDEXED BY marks_changed CROSS JOIN conversations c ON c.id = k.conversation_id
		WHERE k.user_id = ?1 AND k.changed_at >= ?2
		ORDER BY k.changed_at DESC LIMIT ?3`
	// selectDeletedSince finds deleted conversations whose deletion ended a stay of the
	// user. Spaces are not included.
	selectDeletedSince = `SELECT c.id, c.deleted_at, 0, 0, c.deleted_event = i.to_event AND c.kind <> {space} AND c.deleted_at >= ?2
		FROM intervals i INDEXED BY intervals_of_user CROSS JOIN conversations c ON c.id = i.conversation_id
		WHERE i.user_id = ?1 AND i.to_event < {open}
		ORDER BY i.to_event DESC LIMIT ?3`
	// selectChannelsGoneSince finds deleted channels of spaces that ?1 was a member of at the
	// deletion. It leaves out deletions up to the position ?4: the log was trimmed up to there, so
	// it is not known who could see the channel.
	selectChannelsGoneSince = `SELECT c.id, c.deleted_at, c.space_id, c.deleted_event, c.deleted_at >= ?2
		FROM intervals i INDEXED BY intervals_in_spaces
		CROSS JOIN conversations c INDEXED BY channels_of_space ON c.space_id = i.conversation_id AND c.kind = {channel}
			AND coalesce(c.deleted_event, {open}) >= max(i.from_event, ?4 + 1)
			AND coalesce(c.deleted_event, {open}) <= min(i.to_event, {open} - 1)
		WHERE i.in_space = 1 AND i.user_id = ?1 AND i.to_event > ?4 LIMIT ?3`
)

// goneScan is the maximum number of candidates per statement.
const goneScan = 20_000

// Hidden reports whether the user has hidden a message by its id.
func (r *reader) Hidden(conversation im.ID, user im.UserID, seq int64) (bool, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return false, err
	}
	if hides, err := r.hides(key); err != nil || !hides {
		return false, err
	}
	var to int64
	found, err := r.session.row(selectHidden, []any{int64(conversation), int64(record.Hidden), key, seq}, &to)
	return found && to >= seq, err
}

// hides reports whether a user has hidden any message by its id. Most users have not. Outside of
// writes the answer is kept for each user, because a page calls Hidden for each of its messages.
func (r *reader) hides(user int64) (hides bool, err error) {
	if hides, known := r.hiding[user]; known {
		return hides, nil
	}
	_, err = r.session.row(selectHides, []any{user}, &hides)
	if err == nil && r.interned == nil {
		if r.hiding == nil {
			r.hiding = make(map[int64]bool)
		}
		r.hiding[user] = hides
	}
	return hides, err
}

// HiddenIn returns the messages in a range that the user has hidden by id.
func (r *reader) HiddenIn(conversation im.ID, user im.UserID, of im.SeqRange) (seqs.Set, error) {
	return r.rangesIn(record.Hidden, conversation, user, of)
}

// Hide hides the messages in a range from the user and returns those that were not hidden
// before.
func (t *tx) Hide(conversation im.ID, user im.UserID, r im.SeqRange, at time.Time) (seqs.Set, error) {
	return t.addRange(record.Hidden, conversation, user, r, at)
}

// HiddenBy returns the users who have hidden a message in any way, in the order of their ids.
func (r *reader) HiddenBy(m im.Message) ([]im.UserID, error) {
	hidden, err := r.usersWith(record.Hidden, m.Conversation, m.Seq)
	if err != nil {
		return nil, err
	}
	users := make([]im.UserID, 0, len(hidden))
	for _, h := range hidden {
		users = append(users, h.User)
	}
	marked, err := r.session.users(selectHiding, int64(m.Conversation), m.Seq, m.CreatedAt.UnixMilli())
	users = append(users, marked...)
	slices.Sort(users)
	return slices.Compact(users), err
}

// HiddenSince returns what the user has hidden since a time, in up to limit parts, the newest
// first.
func (r *reader) HiddenSince(user im.UserID, since time.Time, limit int) ([]im.HiddenPart, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	var list []im.HiddenPart
	args := []any{key, ceilMillis(since).UnixMilli(), limit}
	err = r.session.query(selectHiddenSince, args, func(rows row) (bool, error) {
		var p im.HiddenPart
		var at int64
		err := rows.Scan(&p.Conversation, &at, &p.Range.From, &p.Range.To)
		p.At = fromMillis(at)
		list = append(list, p)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	err = r.session.query(selectMarksSince, args, func(rows row) (bool, error) {
		var conversation im.ID
		var k im.Mark
		var at int64
		var before sql.NullInt64
		err := rows.Scan(&conversation, &at, &k.HiddenSeq, &before)
		k.HiddenAt, k.HiddenBefore = fromMillis(at), optionalTime(before)
		list = append(list, k.Parts(conversation)...)
		return true, err
	})
	slices.SortStableFunc(list, func(a, b im.HiddenPart) int { return b.At.Compare(a.At) })
	return list[:min(len(list), limit)], err
}

// GoneSince returns the conversations that, since a time, the user has hidden or that were
// deleted while the user was a member, and deleted channels of their spaces, the newest
// first. more reports whether there may be others.
func (r *reader) GoneSince(user im.UserID, since time.Time, limit int) (list []im.GoneConversation, more bool, err error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, false, err
	}
	var cut int64
	if _, err := r.session.row(selectCut, nil, &cut); err != nil {
		return nil, false, err
	}
	for query, deleted := range map[string]bool{selectGoneSince: false, selectDeletedSince: true, selectChannelsGoneSince: true} {
		args := []any{key, ceilMillis(since).UnixMilli(), goneScan}
		if query == selectChannelsGoneSince {
			args = append(args, cut)
		}
		looked := 0
		err := r.session.query(query, args, func(rows row) (bool, error) {
			g := im.GoneConversation{Deleted: deleted}
			var at sql.NullInt64
			var qualifies sql.NullBool
			err := rows.Scan(&g.Conversation, &at, &g.Space, &g.By, &qualifies)
			g.At = optionalTime(at)
			if qualifies.Bool {
				list = append(list, g)
			}
			looked++
			return true, err
		})
		if err != nil {
			return nil, false, err
		}
		more = more || looked == goneScan
	}
	slices.SortFunc(list, func(a, b im.GoneConversation) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Conversation, b.Conversation))
	})
	return list[:min(len(list), limit)], more || len(list) > limit, nil
}
