package im

import "time"

// SpaceReader reads the members and roles of spaces and the access to their channels. It can read
// their state after any event in the log, because an event is delivered to those who could see its
// channel when it happened.
type SpaceReader interface {
	// SpaceMembersAt returns the users of a list who were members of the space when the event
	// at a position happened, or who are now if that is [Latest], with their roles and their
	// entries on the lists of a channel; channel 0 asks for none. As of Latest it leaves out
	// roles and entries that have ended. The list may contain duplicates.
	SpaceMembersAt(space, channel ID, at Position, users []UserID) ([]SpaceMember, error)
	// SpaceMembers returns a page of the current members of the space, in the order of
	// [MemberReader.Members], with their roles and their entries on the lists of a channel.
	SpaceMembers(space, channel ID, page Page) ([]SpaceMember, error)
	// RolesAt returns the owner and the roles of a space as they were after the event at a
	// position, or zero if it had none then.
	RolesAt(space ID, at Position) (SpaceRoles, error)
	// RoleNames returns the current names of the roles of a space, without [Everyone].
	RoleNames(space ID) (map[ID]string, error)
	// AccessAt returns the settings of access to a channel as they were after the event at
	// a position, or ErrNotFound if it had none then.
	AccessAt(channel ID, at Position) (ChannelAccess, error)
	// Overridden returns the channels of a space, without deleted ones, in which one of the roles
	// has an override, with the user's own entries and mute there, in the order of the channels'
	// ids.
	Overridden(space ID, roles []ID, user UserID) ([]ChannelOf, error)
	// RolesSpan returns the events between which the result of RolesAt is the same, or
	// ErrNotFound if RolesAt returns none.
	RolesSpan(space ID, at Position) (Span, error)
	// AccessSpan returns the events between which the result of AccessAt is the same, or
	// ErrNotFound if AccessAt does.
	AccessSpan(channel ID, at Position) (Span, error)
	// InChannel returns the part of the result of SpaceMembersAt that belongs to the channel: the
	// user's entries on its lists, and the end of their mute there.
	InChannel(channel ID, user UserID) (lists []ListStay, muted time.Time, err error)
}

// SpaceWriter changes the roles of spaces and the access to channels.
type SpaceWriter interface {
	// PutRoles stores the owner and the roles of a space, from an event on.
	PutRoles(space ID, roles SpaceRoles, from Position) error
	// PutRoleName stores the name of a role, whose id no other space has, and erases the
	// old name. "" is the name of a deleted role.
	PutRoleName(space, role ID, name string) error
	// PutAccess stores the settings of access to a channel, from an event on.
	PutAccess(channel ID, access ChannelAccess, from Position) error
	// GrantRole gives a member of a space a role, from an event on. They must not have it.
	GrantRole(space ID, user UserID, role ID, from Position) error
	// EndRole takes a role from a member of a space, from an event on, or returns
	// ErrNotFound if they do not have it.
	EndRole(space ID, user UserID, role ID, to Position) error
	// EndSpaceAccess takes all roles in a space from a user and removes the user from the allow
	// lists of its channels, from an event on.
	EndSpaceAccess(space ID, user UserID, to Position) error
}
