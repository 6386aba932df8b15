package handlers_test

import (
	"encoding/json"
	"time"

	"github.com/imapi/imapi/im"
)

// scenes make the place that each table is about, and everybody whom its columns
// are about. Besides them there are: author, who wrote the message; user, who is a
// plain member; peer-admin or peer-moderator, who are as high as admin and
// moderator; and new, who is not there yet.
var scenes = map[string]func(*matrixScene){
	"nothing": func(*matrixScene) {},
	"direct":  directScene,
	"group":   func(s *matrixScene) { s.groupScene(im.Group) },
	"room":    func(s *matrixScene) { s.groupScene(im.Room) },
	"group thread": func(s *matrixScene) {
		group := s.group(im.Group)
		thread := s.thread("creator", "former", "left", "joined", "muted", "owner")
		s.ok(s.service.Leave(s.ctx, s.as("left"), thread))
		s.restrainInGroup(group)
	},
	"space": func(s *matrixScene) {
		space := s.space()
		s.hidden(space)
		s.restrainInSpace(space)
	},
	"channel": func(s *matrixScene) {
		space, channel := s.channel(false)
		s.theirs(channel.ID, false, "former", "denied", "muted", "member", "moderator", "junior", "restricted", "owner")
		s.restrainInChannel(space, channel)
	},
	"channel thread": func(s *matrixScene) {
		space, channel := s.channel(false)
		s.thread("creator", "former", "denied", "muted", "restricted", "joined", "moderator")
		s.restrainInChannel(space, channel)
	},
	"private channel": func(s *matrixScene) {
		space, channel := s.channel(true)
		s.theirs(channel.ID, false, "allowed", "by-role", "allowed-moderator", "owner")
		s.restrainInSpace(space)
	},
	"private thread": func(s *matrixScene) {
		space, channel := s.channel(true)
		s.thread("owner", "joined", "disallowed")
		s.ok(s.service.DeleteListed(s.ctx, s.as("owner"), channel, im.AllowList, s.user("disallowed")))
		s.restrainInSpace(space)
	},

	"deleted group": func(s *matrixScene) { s.delete(s.group(im.Group)) },
	"thread of a deleted group": func(s *matrixScene) {
		group := s.group(im.Group)
		s.thread("owner", "member")
		s.delete(group)
	},
	"deleted channel": func(s *matrixScene) {
		_, channel := s.channel(false)
		s.delete(channel)
	},
	"channel of a deleted space": func(s *matrixScene) {
		space, _ := s.channel(false)
		s.ok(s.service.DeleteSpace(s.ctx, s.as("owner"), space))
	},
	"thread in a deleted space": func(s *matrixScene) {
		space, _ := s.channel(false)
		s.thread("owner", "member")
		s.ok(s.service.DeleteSpace(s.ctx, s.as("owner"), space))
	},
	"deleted space": func(s *matrixScene) { s.ok(s.service.DeleteSpace(s.ctx, s.as("owner"), s.space())) },

	// A space and a channel have ids of one form. Neither is what the other is.
	"space as a conversation": func(s *matrixScene) {
		space, open := s.space(), im.JoinOpen
		s.call("", "conversation", space)
		s.call("", "message", space)
		_, err := s.service.UpdateSpace(s.ctx, s.as("owner"), space, im.ConversationPatch{Join: &open})
		s.ok(err)
	},
	"channel as a space": func(s *matrixScene) {
		_, channel := s.channel(false)
		s.call("", "space", channel.ID)
	},
}

func (s *matrixScene) delete(ref im.ConversationRef) {
	s.t.Helper()
	s.ok(s.service.DeleteConversation(s.ctx, s.as("owner"), ref))
}

var hello = json.RawMessage(`{"text":"hello"}`)

// say sends a message. Its sender, or everybody for "", calls it by a name.
func (s *matrixScene) say(c im.ID, sender, column, name string, d im.Draft) {
	s.t.Helper()
	d.Type, d.Body = im.Text, hello
	sent, err := s.service.Send(s.ctx, s.as(sender), im.ConversationRef{ID: c}, d)
	s.ok(err)
	s.call(column, name, sent.Message.ID)
}

// theirs has users send a message each, which they call own, and have sent one an
// hour ago, which they call stale.
func (s *matrixScene) theirs(c im.ID, receipt bool, users ...string) {
	s.t.Helper()
	for _, user := range users {
		s.say(c, user, user, "own", im.Draft{Receipt: receipt})
		m, _, err := s.service.Insert(s.ctx, im.Actor{User: "operator", Admin: true}, im.ImportMessage{
			Conversation: c.String(), Sender: s.user(user), Type: im.Text, Body: hello, CreatedAt: time.Now().Add(-time.Hour),
		})
		s.ok(err)
		s.call(user, "stale", m.ID)
	}
}

// directScene has two conversations: one of sender and peer, and one of blocker and
// blocked. Of both, the first wrote what is there.
func directScene(s *matrixScene) {
	for _, pair := range [][2]string{{"sender", "peer"}, {"blocker", "blocked"}} {
		sent, err := s.service.Send(s.ctx, s.as(pair[0]), im.ConversationRef{Peer: s.user(pair[1])}, im.Draft{
			Type: im.Text, Body: hello, Burn: &im.Burn{After: 10 * time.Second, UnreadTTL: im.DefaultUnreadTTL},
		})
		s.ok(err)
		c := sent.Message.Conversation
		columns := pair[:]
		if pair[0] == "sender" {
			columns = append(columns, "")
		}
		for _, column := range columns {
			s.call(column, "conversation", c)
			s.call(column, "message", sent.Message.ID)
			s.say(c, pair[0], column, "plain", im.Draft{})
			s.names[column]["author"], s.names[column]["user"] = string(s.user(pair[0])), string(s.user(pair[1]))
		}
		s.theirs(c, false, pair[:]...)
	}
	s.ok(s.service.PutBlock(s.ctx, s.as("blocker"), s.user("blocked")))
}

func (s *matrixScene) groupScene(kind im.Kind) {
	group := s.group(kind)
	s.theirs(group.ID, kind == im.Group, "muted", "member", "admin", "owner", "former", "denied")
	s.restrainInGroup(group)
}

// group makes a group or a room with the message of author in it.
func (s *matrixScene) group(kind im.Kind) im.ConversationRef {
	members := s.users("author", "user", "muted", "member", "former", "denied", "reader", "left", "joined", "creator")
	v, err := s.service.CreateGroup(s.ctx, s.as("owner"), im.GroupDraft{Kind: kind, Name: "place", Members: members})
	s.ok(err)
	ref := im.ConversationRef{ID: v.ID}
	_, err = s.service.AddMembers(s.ctx, s.as("owner"), ref, s.users("admin", "peer-admin"), im.Admin)
	s.ok(err)
	_, err = s.service.Invite(s.ctx, s.as("owner"), ref, s.users("invited"))
	s.ok(err)
	s.blocks("admin", "owner")
	s.call("", "conversation", v.ID)
	s.say(v.ID, "author", "", "message", im.Draft{})
	return ref
}

// blocks has blocker block users.
func (s *matrixScene) blocks(users ...string) {
	s.t.Helper()
	for _, user := range users {
		s.ok(s.service.PutBlock(s.ctx, s.as("blocker"), s.user(user)))
	}
}

// restrainInGroup makes of former, denied and muted what they are called.
func (s *matrixScene) restrainInGroup(group im.ConversationRef) {
	s.ok(s.service.Leave(s.ctx, s.as("former"), group))
	s.ok(s.service.PutListed(s.ctx, s.as("owner"), group, im.DenyList, s.user("denied")))
	_, err := s.service.MuteMember(s.ctx, s.as("owner"), group, s.user("muted"), 0)
	s.ok(err)
}

// thread makes one under the message of a place, which users join and, as its
// creator, write to. From then on it is what requests are about.
func (s *matrixScene) thread(creator string, users ...string) im.ConversationRef {
	root, _ := im.ParseID(s.names[""]["message"])
	v, err := s.service.CreateThread(s.ctx, s.as(creator), root, "thread")
	s.ok(err)
	ref := im.ConversationRef{ID: v.ID}
	for _, user := range append([]string{"author", "user"}, users...) {
		_, err := s.service.Join(s.ctx, s.as(user), ref)
		s.ok(err)
	}
	s.call("", "conversation", v.ID)
	s.say(v.ID, "author", "", "message", im.Draft{})
	s.theirs(v.ID, true, append(users, creator)...)
	return ref
}

// hidden makes a channel that only the owner sees, in which the lowest role says
// something.
func (s *matrixScene) hidden(space im.ID) {
	v, err := s.service.CreateChannel(s.ctx, s.as("owner"), space, im.ChannelDraft{Name: "hidden", Private: true})
	s.ok(err)
	role, _ := im.ParseID(s.names[""]["role"])
	_, err = s.service.PutOverride(s.ctx, s.as("owner"), im.ConversationRef{ID: v.ID}, im.Override{
		Role: role, Grants: im.Grants{Deny: im.PermissionSend},
	})
	s.ok(err)
}

// space makes a space. From its highest role to its lowest it has those of
// moderator, junior, by-role, restricted and helper, of whom restricted does not have
// theirs yet.
func (s *matrixScene) space() im.ID {
	v, err := s.service.CreateSpace(s.ctx, s.as("owner"), im.SpaceDraft{Name: "space"})
	s.ok(err)
	space := v.ID
	_, err = s.service.AddSpaceMembers(s.ctx, s.as("owner"), space, s.users(
		"author", "user", "muted", "member", "former", "denied", "moderator", "peer-moderator", "junior", "restricted", "helper",
		"allowed", "allowed-moderator", "by-role", "reader", "joined", "creator", "disallowed",
	))
	s.ok(err)
	most := im.PermissionRevokeOthers | im.PermissionDeleteOthers | im.PermissionKick | im.PermissionMute |
		im.PermissionManageMembers | im.PermissionManageRoles | im.PermissionManageConversation | im.PermissionManageThreads |
		im.PermissionMentionAll | im.PermissionInvite
	s.role(space, "moderator-role", most, 0, "moderator", "peer-moderator", "allowed-moderator")
	s.role(space, "junior-role", most, 0, "junior")
	s.role(space, "viewer-role", 0, 0, "by-role")
	s.role(space, "restricted-role", 0, im.PermissionSend|im.PermissionRevokeOwn)
	s.role(space, "role", 0, 0, "helper")
	_, err = s.service.InviteToSpace(s.ctx, s.as("owner"), space, s.users("invited"))
	s.ok(err)
	s.blocks("moderator", "junior", "owner")
	s.call("", "space", space)
	return space
}

// role makes the lowest role of a space but everyone's, and gives it to users.
func (s *matrixScene) role(space im.ID, name string, allow, deny im.Permissions, users ...string) {
	role, _, err := s.service.CreateRole(s.ctx, s.as("owner"), space, im.RoleDraft{Name: &name, Allow: allow, Deny: deny})
	s.ok(err)
	s.call("", name, role.ID)
	for _, user := range users {
		s.ok(s.service.GrantRole(s.ctx, s.as("owner"), space, role.ID, s.user(user)))
	}
}

// restrainInSpace makes of former, muted and restricted what they are called.
func (s *matrixScene) restrainInSpace(space im.ID) {
	s.ok(s.service.LeaveSpace(s.ctx, s.as("former"), space))
	_, err := s.service.MuteSpaceMember(s.ctx, s.as("owner"), space, s.user("muted"), 0)
	s.ok(err)
	role, _ := im.ParseID(s.names[""]["restricted-role"])
	s.ok(s.service.GrantRole(s.ctx, s.as("owner"), space, role, s.user("restricted")))
}

// channel makes a channel with the message of author in it. A private one is seen by
// those on its allow list, and by whom a role of theirs lets view it.
func (s *matrixScene) channel(private bool) (space im.ID, ref im.ConversationRef) {
	space = s.space()
	v, err := s.service.CreateChannel(s.ctx, s.as("owner"), space, im.ChannelDraft{Name: "channel", Private: private})
	s.ok(err)
	ref = im.ConversationRef{ID: v.ID}
	s.call("", "conversation", v.ID)
	if private {
		for _, user := range []string{"author", "user", "allowed", "allowed-moderator", "reader", "joined", "disallowed"} {
			s.ok(s.service.PutListed(s.ctx, s.as("owner"), ref, im.AllowList, s.user(user)))
		}
		role, _ := im.ParseID(s.names[""]["viewer-role"])
		_, err = s.service.PutOverride(s.ctx, s.as("owner"), ref, im.Override{Role: role, Grants: im.Grants{Allow: im.PermissionView}})
		s.ok(err)
	}
	s.say(v.ID, "author", "", "message", im.Draft{})
	return space, ref
}

// restrainInChannel is restrainInSpace, but that muted is muted in the channel, of
// which denied is kept out.
func (s *matrixScene) restrainInChannel(space im.ID, channel im.ConversationRef) {
	s.restrainInSpace(space)
	s.ok(s.service.UnmuteSpaceMember(s.ctx, s.as("owner"), space, s.user("muted")))
	_, err := s.service.MuteMember(s.ctx, s.as("owner"), channel, s.user("muted"), 0)
	s.ok(err)
	s.ok(s.service.PutListed(s.ctx, s.as("owner"), channel, im.DenyList, s.user("denied")))
}
