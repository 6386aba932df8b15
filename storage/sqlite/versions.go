package sqlite

import (
	"slices"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// Versions follow each other without a gap. The newest version that began at or before an
// event was valid after that event, unless the version had ended by then.
const (
	selectRoles     = `SELECT roles, coalesce((SELECT u.name FROM users u WHERE u.id = owner_id), '')` + rolesAt
	selectRolesSpan = "SELECT from_event, to_event" + rolesAt
	rolesAt         = ` FROM space_roles WHERE space_id = ?1 AND from_event <= ?2
		AND (to_event > ?2 OR to_event = {open}) ORDER BY from_event DESC LIMIT 1`
	endRoles = `UPDATE space_roles SET to_event = ?1
		WHERE space_id = ?2 AND from_event < ?1 AND to_event = {open}`
	insertRoles = `INSERT INTO space_roles (space_id, from_event, roles, owner_id) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET roles = excluded.roles, owner_id = excluded.owner_id`

	selectAccess     = "SELECT access" + accessAt
	selectAccessSpan = "SELECT from_event, to_event" + accessAt
	accessAt         = ` FROM channel_access WHERE conversation_id = ?1 AND from_event <= ?2
		AND (to_event > ?2 OR to_event = {open}) ORDER BY from_event DESC LIMIT 1`
	endAccess = `UPDATE channel_access SET to_event = ?1
		WHERE conversation_id = ?2 AND from_event < ?1 AND to_event = {open}`
	insertAccess = `INSERT INTO channel_access (conversation_id, from_event, access) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET access = excluded.access`

	// selectChannelAccess finds the access rules of the channels of a space.
	selectChannelAccess = `SELECT c.id, c.mute_all,
			(SELECT a.access FROM channel_access a WHERE a.conversation_id = c.id ORDER BY a.from_event DESC LIMIT 1)
		FROM conversations c INDEXED BY channels_of_space
		WHERE c.space_id = ? AND c.kind = {channel} AND coalesce(c.deleted_event, {open}) = {open}
		ORDER BY c.id`

	// A deletion ends the versions of the conversations ?2.
	endRoleVersions = `UPDATE space_roles SET to_event = ?1
		WHERE to_event = {open} AND space_id IN (SELECT j.value FROM json_each(?2) AS j)`
	endAccessVersions = `UPDATE channel_access SET to_event = ?1
		WHERE to_event = {open} AND conversation_id IN (SELECT j.value FROM json_each(?2) AS j)`

	// Versions that ended at or before ?1 do not apply to any later event.
	trimRoles = `DELETE FROM space_roles WHERE (space_id, from_event) IN
		(SELECT space_id, from_event FROM space_roles INDEXED BY space_roles_closed
		WHERE to_event < {open} AND to_event <= ?1 LIMIT ?2)`
	trimAccess = `DELETE FROM channel_access WHERE (conversation_id, from_event) IN
		(SELECT conversation_id, from_event FROM channel_access INDEXED BY channel_access_closed
		WHERE to_event < {open} AND to_event <= ?1 LIMIT ?2)`
)

// RolesAt returns the owner and the roles of a space after an event.
func (r *reader) RolesAt(space im.ID, at im.Position) (roles im.SpaceRoles, err error) {
	var text []byte
	found, err := r.session.row(selectRoles, []any{int64(space), int64(at)}, &text, &roles.Owner)
	if err != nil || !found {
		return im.SpaceRoles{}, err
	}
	roles.Roles, err = record.ReadRoles(text)
	return roles, err
}

// AccessAt returns the access rules of a channel after an event. The error is
// [im.ErrNotFound] if none were stored by then.
func (r *reader) AccessAt(channel im.ID, at im.Position) (im.ChannelAccess, error) {
	var text []byte
	found, err := r.session.row(selectAccess, []any{int64(channel), int64(at)}, &text)
	if err != nil || !found {
		return im.ChannelAccess{}, orNotFound(err)
	}
	return record.ReadChannelAccess(text)
}

// Overridden returns the channels of a space in which one of the roles has an override,
// with the user's list entries and mutes there. It takes three queries, however many
// channels there are.
func (r *reader) Overridden(space im.ID, roles []im.ID, user im.UserID) ([]im.ChannelOf, error) {
	var list []im.ChannelOf
	var ids []int64
	err := r.session.query(selectChannelAccess, []any{int64(space)}, func(rows row) (bool, error) {
		var c im.ChannelOf
		var text []byte
		if err := rows.Scan(&c.Channel, &c.MuteAll, &text); err != nil {
			return false, err
		}
		if !record.MayOverride(text, roles) {
			return true, nil
		}
		var err error
		if c.Access, err = record.ReadChannelAccess(text); err != nil {
			return false, err
		}
		if slices.ContainsFunc(c.Access.Overrides, func(o im.Override) bool { return slices.Contains(roles, o.Role) }) {
			list, ids = append(list, c), append(ids, int64(c.Channel))
		}
		return true, nil
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list, r.addListsAndMutes(list, ids, user)
}

// RolesSpan returns the range of events in which the roles were the same as after one of
// them.
func (r *reader) RolesSpan(space im.ID, at im.Position) (im.Span, error) {
	return r.span(selectRolesSpan, space, at)
}

// AccessSpan is RolesSpan for the access rules of a channel.
func (r *reader) AccessSpan(channel im.ID, at im.Position) (im.Span, error) {
	return r.span(selectAccessSpan, channel, at)
}

func (r *reader) span(query string, id im.ID, at im.Position) (span im.Span, err error) {
	found, err := r.session.row(query, []any{int64(id), int64(at)}, &span.From, &span.To)
	if err != nil || !found {
		return im.Span{}, orNotFound(err)
	}
	if span.To == im.Latest {
		span.To = 0
	}
	return span, nil
}

// PutRoles stores the owner and the roles of a space, from an event on.
func (t *tx) PutRoles(space im.ID, roles im.SpaceRoles, from im.Position) error {
	text, err := record.Roles(roles.Roles)
	if err != nil {
		return err
	}
	owner, err := t.internOptional(roles.Owner)
	if err != nil {
		return err
	}
	if _, err := t.session.exec(endRoles, int64(from), int64(space)); err != nil {
		return err
	}
	_, err = t.session.exec(insertRoles, int64(space), int64(from), string(text), owner)
	return err
}

// PutAccess stores the access rules of a channel, from an event on.
func (t *tx) PutAccess(channel im.ID, access im.ChannelAccess, from im.Position) error {
	text, err := record.ChannelAccess(access)
	if err != nil {
		return err
	}
	if _, err := t.session.exec(endAccess, int64(from), int64(channel)); err != nil {
		return err
	}
	_, err = t.session.exec(insertAccess, int64(channel), int64(from), string(text))
	return err
}
