package handlers_test

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// scenes create the conversation or space of each table and the users of its columns. There are
// also author, who wrote the message; user, an ordinary member; peer-admin and peer-moderator, who
// have the same roles as admin and moderator; and new, who is not a member yet.
var scenes = map[string]func(*matrixScene){
	"nothing": webhookScene,
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

	"data stream": func(s *matrixScene) {
		group := s.group(im.Group)
		s.dataStreams(im.DataStreamDraft{Conversation: &group, Access: im.StreamForMembers, Publishers: s.users("joined", "muted")})
		s.restrainInGroup(group)
	},
	"listed data stream": func(s *matrixScene) {
		group := s.group(im.Group)
		s.dataStreams(im.DataStreamDraft{
			Conversation: &group, Access: im.StreamForListed, Readers: s.users("muted", "former"), Publishers: s.users("joined"),
		})
		s.restrainInGroup(group)
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

	// Ids of spaces and channels have the same form, but a space is not a conversation.
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

// dataStreams starts two data streams of author, and ends one of them.
func (s *matrixScene) dataStreams(d im.DataStreamDraft) {
	s.t.Helper()
	for _, name := range []string{"stream", "ended"} {
		v, err := s.streams.Create(s.ctx, s.as("author"), d)
		s.ok(err)
		s.call("", name, v.ID)
		if name == "ended" {
			_, err = s.streams.End(s.ctx, s.as("author"), v.ID, nil)
			s.ok(err)
		}
	}
}

func (s *matrixScene) delete(ref im.ConversationRef) {
	s.t.Helper()
	s.ok(s.service.DeleteConversation(s.ctx, s.as("owner"), ref))
}

// webhookScene has a webhook and an event. Scenes share it, because a server has few.
func webhookScene(s *matrixScene) {
	root := im.Actor{User: "root", Admin: true}
	all, err := s.service.Webhooks(s.ctx, root)
	s.ok(err)
	if len(all) == 0 {
		url := "https://app.example/imapi"
		w, err := s.service.CreateWebhook(s.ctx, root, im.WebhookDraft{URL: &url})
		s.ok(err)
		all = append(all, w)
	}
	at, err := s.service.TestWebhook(s.ctx, root, all[0].ID)
	s.ok(err)
	s.call("", "webhook", all[0].ID)
	s.names[""]["event"] = handlers.EventID(s.service, at)
}

var hello = json.RawMessage(`{"text":"hello"}`)

// say sends a message and names it for user, or for everybody if user is "".
func (s *matrixScene) say(c im.ID, sender, column, name string, d im.Draft) {
	s.t.Helper()
	if name == "message" {
		s.sayFile(im.ConversationRef{ID: c}, sender, column)
	}
	d.Type, d.Body = im.Text, hello
	sent, err := s.service.Send(s.ctx, s.as(sender), im.ConversationRef{ID: c}, d)
	s.ok(err)
	s.call(column, name, sent.Message.ID)
}

// sayFile sends a message with a picture that is called attachment, and has a thumbnail.
func (s *matrixScene) sayFile(ref im.ConversationRef, sender, column string) {
	s.t.Helper()
	a, err := s.service.Upload(s.ctx, s.as(sender), im.Upload{Size: -1, Body: bytes.NewReader(picture(s.t, 9, 9))})
	s.ok(err)
	s.ok(s.service.MakeThumbnails(s.ctx, func(im.ThumbnailState, time.Duration) {}))
	_, err = s.service.Send(s.ctx, s.as(sender), ref, im.Draft{Type: im.File, Body: json.RawMessage(`{"attachment_id":"` + a.ID.String() + `"}`)})
	s.ok(err)
	s.call(column, "attachment", a.ID)
}

// theirs makes each user send a message named own, and inserts one of an hour ago named stale.
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

// directScene has two conversations: between sender and peer, and between blocker and
// blocked. The first of each wrote the message.
func directScene(s *matrixScene) {
	for _, pair := range [][2]string{{"sender", "peer"}, {"blocker", "blocked"}} {
		sent, err := s.service.Send(s.ctx, s.as(pair[0]), im.ConversationRef{Peer: s.user(pair[1])}, im.Draft{
			Type: im.Text, Body: hello, Burn: &im.Burn{After: time.Hour, UnreadTTL: im.DefaultUnreadTTL},
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
			s.sayFile(im.ConversationRef{ID: c}, pair[0], column)
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

// group creates a group or a room with the message of author in it.
func (s *matrixScene) group(kind im.Kind) im.ConversationRef {
	members := s.users("author", "user", "muted", "member", "former", "denied", "reader", "left", "joined", "creator")
	v, err := s.service.CreateGroup(s.ctx, s.as("owner"), im.GroupDraft{Kind: kind, Name: "group", Members: members})
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

// blocks makes blocker block users.
func (s *matrixScene) blocks(users ...string) {
	s.t.Helper()
	for _, user := range users {
		s.ok(s.service.PutBlock(s.ctx, s.as("blocker"), s.user(user)))
	}
}

// restrainInGroup removes former, denies denied and mutes muted.
func (s *matrixScene) restrainInGroup(group im.ConversationRef) {
	s.ok(s.service.Leave(s.ctx, s.as("former"), group))
	s.ok(s.service.PutListed(s.ctx, s.as("owner"), group, im.DenyList, s.user("denied")))
	_, err := s.service.MuteMember(s.ctx, s.as("owner"), group, s.user("muted"), 0)
	s.ok(err)
}

// thread creates a thread under the message. The users, including its creator, join it and write to
// it. From then on requests are about the thread.
func (s *matrixScene) thread(creator string, users ...string) im.ConversationRef {
	root, _ := im.ParseID(s.names[""]["message"])
	v, err := s.service.CreateThread(s.ctx, s.as(creator), root, im.ThreadDraft{Name: "thread"})
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

// hidden creates a channel that only the owner sees, with an override of the lowest role.
func (s *matrixScene) hidden(space im.ID) {
	v, err := s.service.CreateChannel(s.ctx, s.as("owner"), space, im.ChannelDraft{Name: "hidden", Private: true})
	s.ok(err)
	role, _ := im.ParseID(s.names[""]["role"])
	_, err = s.service.PutOverride(s.ctx, s.as("owner"), im.ConversationRef{ID: v.ID}, im.Override{
		Role: role, Grants: im.Grants{Deny: im.PermissionSend},
	})
	s.ok(err)
}

// space creates a space with the roles moderator, junior, by-role, restricted and helper, from the
// highest to the lowest. The user restricted does not have theirs yet.
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

// role creates the lowest role of a space above everyone's, and gives it to users.
func (s *matrixScene) role(space im.ID, name string, allow, deny im.Permissions, users ...string) {
	role, _, err := s.service.CreateRole(s.ctx, s.as("owner"), space, im.RoleDraft{Name: &name, Allow: allow, Deny: deny})
	s.ok(err)
	s.call("", name, role.ID)
	for _, user := range users {
		s.ok(s.service.GrantRole(s.ctx, s.as("owner"), space, role.ID, s.user(user)))
	}
}

// restrainInSpace removes former, mutes muted and gives restricted their role.
func (s *matrixScene) restrainInSpace(space im.ID) {
	s.ok(s.service.LeaveSpace(s.ctx, s.as("former"), space))
	_, err := s.service.MuteSpaceMember(s.ctx, s.as("owner"), space, s.user("muted"), 0)
	s.ok(err)
	role, _ := im.ParseID(s.names[""]["restricted-role"])
	s.ok(s.service.GrantRole(s.ctx, s.as("owner"), space, role, s.user("restricted")))
}

// channel creates a channel with the message of author in it. A private one is visible to users on
// its allow list and by an override of a role.
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

// restrainInChannel is like restrainInSpace, but mutes muted in the channel and denies
// denied there.
func (s *matrixScene) restrainInChannel(space im.ID, channel im.ConversationRef) {
	s.restrainInSpace(space)
	s.ok(s.service.UnmuteSpaceMember(s.ctx, s.as("owner"), space, s.user("muted")))
	_, err := s.service.MuteMember(s.ctx, s.as("owner"), channel, s.user("muted"), 0)
	s.ok(err)
	s.ok(s.service.PutListed(s.ctx, s.as("owner"), channel, im.DenyList, s.user("denied")))
}
