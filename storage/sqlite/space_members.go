package sqlite

import (
	"encoding/json"
	"time"

	"github.com/imapi/imapi/im"
)

// The mutes, roles and list entries of a list of users, given by their keys or their names.
const (
	selectMutesOf = `SELECT j.key, n.until FROM json_each(?1) j
		CROSS JOIN mutes n ON n.conversation_id = ?2 AND n.user_id = j.value`
	selectRoleStays = `SELECT j.key, s.role_id, s.from_event, s.to_event FROM json_each(?1) j
		CROSS JOIN role_stays s ON s.space_id = ?2 AND s.user_id = j.value`
	selectListStays = `SELECT j.key, s.list, s.from_event, s.to_event FROM json_each(?1) j
		CROSS JOIN list_stays s ON s.conversation_id = ?2 AND s.name = j.value`
	// The same without what has ended, for the present state.
	selectOpenRoleStays = `SELECT j.key, s.role_id, s.from_event, s.to_event FROM json_each(?1) j
		CROSS JOIN role_stays s INDEXED BY role_stays_open
		ON s.to_event = {open} AND s.space_id = ?2 AND s.user_id = j.value`
	selectOpenListStays = `SELECT j.key, s.list, s.from_event, s.to_event FROM json_each(?1) j
		CROSS JOIN list_stays s INDEXED BY list_stays_open
		ON s.to_event = {open} AND s.conversation_id = ?2 AND s.list IN ({allow_list}, {deny_list}) AND s.name = j.value`

	// The list entries and mutes of one user in a list of channels.
	selectListStaysIn = `SELECT j.key, s.list, s.from_event, s.to_event FROM json_each(?1) j
		CROSS JOIN list_stays s ON s.conversation_id = j.value AND s.name = ?2`
	selectMutesIn = `SELECT j.key, n.until FROM json_each(?1) j
		CROSS JOIN mutes n ON n.conversation_id = j.value AND n.user_id = ?2`

	// If a stay in the role began and ended with this same event, that stay continues.
	insertRoleStay = `INSERT INTO role_stays (space_id, user_id, role_id, from_event) VALUES (?, ?, ?, ?)
		ON CONFLICT (space_id, user_id, role_id, from_event) DO UPDATE SET to_event = {open}
		WHERE to_event < {open}`
	// Only the newest [im.MaxIntervals] intervals of a user in a role are kept, so that
	// loading a member stays fast.
	trimStaysInRole = `DELETE FROM role_stays WHERE space_id = ?1 AND user_id = ?2 AND role_id = ?3 AND from_event <
		(SELECT min(from_event) FROM (SELECT n.from_event FROM role_stays n
		WHERE n.space_id = ?1 AND n.user_id = ?2 AND n.role_id = ?3 ORDER BY n.from_event DESC LIMIT {max_intervals}))`
	endRoleStay = `UPDATE role_stays INDEXED BY role_stays_open SET to_event = ?
		WHERE to_event = {open} AND space_id = ? AND user_id = ? AND role_id = ?`
	endRolesOfUser = `UPDATE role_stays INDEXED BY role_stays_open SET to_event = ?
		WHERE to_event = {open} AND space_id = ? AND user_id = ?`
	endRoleStaysOf = `UPDATE role_stays INDEXED BY role_stays_open SET to_event = ?1
		WHERE to_event = {open} AND space_id IN (SELECT j.value FROM json_each(?2) AS j)`
	trimRoleStays = `DELETE FROM role_stays WHERE (space_id, user_id, role_id, from_event) IN
		(SELECT space_id, user_id, role_id, from_event FROM role_stays INDEXED BY role_stays_closed
		WHERE to_event < {open} AND to_event <= ?1 LIMIT ?2)`
)

// SpaceMembersAt returns which of the users were members of a space at an event, in the order of
// their ids and without duplicates, with their roles and mutes in the space and, unless channel is
// 0, their list entries and mutes in the channel.
func (r *reader) SpaceMembersAt(space, channel im.ID, at im.Position, users []im.UserID) ([]im.SpaceMember, error) {
	keyOf := make(map[im.UserID]int64, len(users))
	members, err := r.membersAt(space, at, users, keyOf)
	if err != nil || len(members) == 0 {
		return nil, err
	}
	list, keys := make([]im.SpaceMember, len(members)), make([]int64, len(members))
	for i, m := range members {
		list[i].Membership, keys[i] = m, keyOf[m.User]
	}
	numbers, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	err = r.mutesOf(selectMutesOf, string(numbers), int64(space), func(i int, until int64) { list[i].MutedUntil = fromMillis(until) })
	if err != nil {
		return nil, err
	}
	return list, r.addRolesListsAndMutes(list, string(numbers), space, channel, at == im.Latest)
}

// SpaceMembers returns a page of the present members of a space, in the order of
// [reader.Members], with the same details.
func (r *reader) SpaceMembers(space, channel im.ID, page im.Page) ([]im.SpaceMember, error) {
	members, keys, err := r.members(space, page)
	if err != nil || len(members) == 0 {
		return nil, err
	}
	list := make([]im.SpaceMember, len(members))
	for i, m := range members {
		list[i].Membership = m
	}
	numbers, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	return list, r.addRolesListsAndMutes(list, string(numbers), space, channel, true)
}

// addRolesListsAndMutes adds roles and, unless channel is 0, list entries and mutes in the channel
// to members of a space with these keys. If now is set, it leaves out roles and list entries that
// have ended.
func (r *reader) addRolesListsAndMutes(list []im.SpaceMember, keys string, space, channel im.ID, now bool) error {
	roles, lists := selectRoleStays, selectListStays
	if now {
		roles, lists = selectOpenRoleStays, selectOpenListStays
	}
	err := r.stays(roles, keys, int64(space), func(i int, role int64, from, to im.Position) {
		list[i].Roles = append(list[i].Roles, im.RoleStay{Role: im.ID(role), From: from, To: to})
	})
	if err != nil || channel == 0 {
		return err
	}
	users := make([]im.UserID, len(list))
	for i, m := range list {
		users[i] = m.User
	}
	names, err := json.Marshal(users)
	if err != nil {
		return err
	}
	err = r.stays(lists, string(names), int64(channel), func(i int, on int64, from, to im.Position) {
		list[i].Lists = append(list[i].Lists, im.ListStay{List: im.List(on), From: from, To: to})
	})
	if err != nil {
		return err
	}
	return r.mutesOf(selectMutesOf, keys, int64(channel), func(i int, until int64) { list[i].MutedHere = fromMillis(until) })
}

// InChannel returns a user's entries on the lists of a channel, and the end of their mute
// there.
func (r *reader) InChannel(channel im.ID, user im.UserID) ([]im.ListStay, time.Time, error) {
	in := make([]im.ChannelOf, 1)
	err := r.addListsAndMutes(in, []int64{int64(channel)}, user)
	return in[0].Lists, in[0].MutedHere, err
}

// addListsAndMutes adds a user's list entries and mutes to the channels with these
// ids.
func (r *reader) addListsAndMutes(list []im.ChannelOf, ids []int64, user im.UserID) error {
	key, err := r.userKey(user)
	if err != nil {
		return err
	}
	numbers, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	err = r.stays(selectListStaysIn, string(numbers), string(user), func(i int, on int64, from, to im.Position) {
		list[i].Lists = append(list[i].Lists, im.ListStay{List: im.List(on), From: from, To: to})
	})
	if err != nil {
		return err
	}
	return r.mutesOf(selectMutesIn, string(numbers), key, func(i int, until int64) { list[i].MutedHere = fromMillis(until) })
}

// stays calls fn for each interval that a query finds. i is the index of its user or channel in the
// list, and to is 0 while the interval lasts.
func (r *reader) stays(query, list string, id any, fn func(i int, of int64, from, to im.Position)) error {
	return r.session.query(query, []any{list, id}, func(rows row) (bool, error) {
		var i int
		var of int64
		var from, to im.Position
		if err := rows.Scan(&i, &of, &from, &to); err != nil {
			return false, err
		}
		if to == im.Latest {
			to = 0
		}
		fn(i, of, from, to)
		return true, nil
	})
}

// mutesOf calls fn for each mute that a query finds. i is the index of its user or channel in the
// list.
func (r *reader) mutesOf(query, list string, id any, fn func(i int, until int64)) error {
	return r.session.query(query, []any{list, id}, func(rows row) (bool, error) {
		var i int
		var until int64
		if err := rows.Scan(&i, &until); err != nil {
			return false, err
		}
		fn(i, until)
		return true, nil
	})
}

// GrantRole grants a role of a space to a member, beginning with the event at from.
func (t *tx) GrantRole(space im.ID, user im.UserID, role im.ID, from im.Position) error {
	key, err := t.intern(user)
	if err != nil {
		return err
	}
	if _, err = t.session.exec(insertRoleStay, int64(space), key, int64(role), int64(from)); err != nil {
		return err
	}
	_, err = t.session.exec(trimStaysInRole, int64(space), key, int64(role))
	return err
}

// EndRole takes a role of a space from a member with the event at to.
func (t *tx) EndRole(space im.ID, user im.UserID, role im.ID, to im.Position) error {
	key, err := t.userKey(user)
	if err != nil {
		return err
	}
	return t.must(endRoleStay, int64(to), int64(space), key, int64(role))
}

// EndSpaceAccess ends all roles of a user in a space, and their entries on the allow lists of
// its channels.
func (t *tx) EndSpaceAccess(space im.ID, user im.UserID, to im.Position) error {
	if _, err := t.session.exec(endAllowed, int64(to), int64(space), string(user)); err != nil {
		return err
	}
	key, err := t.userKey(user)
	if err != nil || key == 0 {
		return err
	}
	_, err = t.session.exec(endRolesOfUser, int64(to), int64(space), key)
	return err
}
