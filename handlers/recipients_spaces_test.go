package handlers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// town has the threads, space and channels of a scene, and a room. Alice owns the space, bob and
// carol are members, and dave was a member. Bob has the role.
type town struct {
	room   string // of alice, bob and carol; dave has left
	thread string // under a message of the group; carol has not joined it
	space  string
	lobby  string // a public channel
	closed string // a public one that carol must not see
	den    string // private, for the owner and bob
	staff  string // a private one, for those with the role
	vault  string // private, for the owner only
	talk   string // a thread in the lobby that carol has not joined
	secret string // a thread in the den that carol joined when she could see it
	role   string

	lobbys string // alice's message in the lobby, which carol has hidden
	talks  string // alice's message in the talk, which bob has hidden
	dens   string // bob's in the den
}

// build adds a town to a scene, before anybody listens.
func (s *scene) build() {
	s.t.Helper()
	id := func(e ear, path, body string) string {
		s.t.Helper()
		return s.act(e, http.MethodPost, path, body)["id"].(string)
	}
	under := func(target string) string {
		s.t.Helper()
		root := s.say("alice", target, "root")["id"].(string)
		return id(bob, "messages/"+root+"/thread", `{"name":"below"}`)
	}
	join := func(target string, ears ...ear) {
		s.t.Helper()
		for _, e := range ears {
			s.act(e, http.MethodPost, "conversations/"+target+"/join", "")
		}
	}
	s.room = id(acting, "conversations", `{"kind":"room","name":"r","members":["bob","carol","dave"]}`)
	s.act(former, http.MethodPost, "conversations/"+s.room+"/leave", "")
	s.thread = under(s.group)
	join(s.thread, acting)

	s.space = id(acting, "spaces", `{"name":"s"}`)
	s.act(acting, http.MethodPost, "spaces/"+s.space+"/members", `{"members":["bob","carol","dave"]}`)
	s.role = id(acting, "spaces/"+s.space+"/roles", `{"name":"crew","permissions":{}}`)
	s.act(acting, http.MethodPut, "spaces/"+s.space+"/roles/"+s.role+"/members/bob", "")
	channel := func(visibility string) string {
		s.t.Helper()
		return id(acting, "spaces/"+s.space+"/channels", fmt.Sprintf(`{"name":"c","visibility":%q}`, visibility))
	}
	s.lobby, s.closed = channel("public"), channel("public")
	s.den, s.staff, s.vault = channel("private"), channel("private"), channel("private")
	s.act(acting, http.MethodPut, "conversations/"+s.closed+"/lists/deny/carol", "")
	s.act(acting, http.MethodPut, "conversations/"+s.den+"/lists/allow/bob", "")
	s.act(acting, http.MethodPut, "conversations/"+s.staff+"/overrides/"+s.role, `{"permissions":{"view":"allow"}}`)
	s.talk = under(s.lobby)
	join(s.talk, acting)
	s.act(acting, http.MethodPut, "conversations/"+s.den+"/lists/allow/carol", "")
	s.secret = under(s.den)
	join(s.secret, acting, hider)
	s.act(acting, http.MethodDelete, "conversations/"+s.den+"/lists/allow/carol", "")
	s.act(former, http.MethodPost, "spaces/"+s.space+"/leave", "")

	hide := func(e ear, target, message string) {
		s.t.Helper()
		s.act(e, http.MethodPost, "conversations/"+target+"/hide", fmt.Sprintf(`{"message_ids":[%q]}`, message))
	}
	s.lobbys = s.say("alice", s.lobby, "said")["id"].(string)
	s.talks = s.say("alice", s.talk, "said")["id"].(string)
	s.dens = s.say("bob", s.den, "said")["id"].(string)
	hide(hider, s.lobby, s.lobbys)
	hide(bob, s.talk, s.talks)
}

// deliveriesOfTown are the actions in a town.
func deliveriesOfTown() map[string]delivery {
	var (
		all   = []ear{tablet, bob, hider}
		few   = []ear{tablet, bob}
		owner = []ear{tablet}
	)
	conversation := func(method string, target func(*scene) string, path, body string) func(*scene) {
		return func(s *scene) { s.act(acting, method, "conversations/"+target(s)+path, body) }
	}
	space := func(method, path, body string) func(*scene) {
		return func(s *scene) { s.act(acting, method, "spaces/"+s.space+path, body) }
	}
	var (
		room   = func(s *scene) string { return s.room }
		thread = func(s *scene) string { return s.thread }
		lobby  = func(s *scene) string { return s.lobby }
		closed = func(s *scene) string { return s.closed }
		den    = func(s *scene) string { return s.den }
		staff  = func(s *scene) string { return s.staff }
		vault  = func(s *scene) string { return s.vault }
		talk   = func(s *scene) string { return s.talk }
		secret = func(s *scene) string { return s.secret }
	)
	say := func(target func(*scene) string) func(*scene) {
		return conversation(http.MethodPost, target, "/messages", `{"type":"text","body":{"text":"news"},"mention_all":true}`)
	}
	group := func(s *scene) string { return s.group }
	invited := func(target func(*scene) string) func(*scene) {
		return conversation(http.MethodPost, target, "/invitations", `{"users":["eve","bob"]}`)
	}
	put, post, patch, remove := http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	return map[string]delivery{
		// Rooms.
		"a room is created": {func(s *scene) {
			s.act(acting, post, "conversations", `{"kind":"room","name":"new","members":["bob"]}`)
		}, want{im.ConversationCreated: few}},
		"a message is sent to a room":     {say(room), want{im.MessageCreated: all}},
		"a room is renamed":               {conversation(patch, room, "", `{"name":"other"}`), want{im.ConversationUpdated: all}},
		"a room is deleted":               {conversation(remove, room, "?scope=everyone", ""), want{im.ConversationDeleted: all}},
		"somebody is added to a room":     {conversation(post, room, "/members", `{"members":["eve"]}`), want{im.MemberAdded: {nobody}}},
		"somebody joins a room":           {func(s *scene) { s.act(former, post, "conversations/"+s.room+"/join", "") }, want{}},
		"somebody leaves a room":          {func(s *scene) { s.act(bob, post, "conversations/"+s.room+"/leave", "") }, want{}},
		"somebody is removed from a room": {conversation(remove, room, "/members/bob", ""), want{im.MemberRemoved: {bob}}},
		"a member is denied in a room":    {conversation(put, room, "/lists/deny/bob", ""), want{im.MemberRemoved: {bob}}},
		"a stranger is denied in a room":  {conversation(put, room, "/lists/deny/eve", ""), want{}},
		"somebody is muted in a room":     {conversation(put, room, "/members/bob/mute", ""), want{im.MemberUpdated: {bob}}},
		"somebody gets a role in a room":  {conversation(patch, room, "/members/bob", `{"role":"admin"}`), want{im.MemberUpdated: {bob}}},
		"somebody is muted in a group":    {func(s *scene) { s.act(acting, put, "conversations/"+s.group+"/members/bob/mute", "") }, want{im.MemberUpdated: all}},

		// Threads.
		"a thread is created in a group": {func(s *scene) {
			root := s.say("zoe", s.barrier, "root")["id"].(string)
			s.act(acting, post, "messages/"+root+"/thread", `{"name":"t"}`)
		}, want{im.MessageCreated: {acting, tablet, bob, hider, former, nobody}, im.ThreadCreated: {tablet, bob, hider, former, nobody}}},
		"a thread is created in a channel":                   {threadIn(lobby), want{im.MessageCreated: all, im.ThreadCreated: all}},
		"a thread is created in a private channel":           {threadIn(den), want{im.MessageCreated: few, im.ThreadCreated: few}},
		"a message is sent to a thread of a group":           {say(thread), want{im.MessageCreated: few, im.ThreadUpdated: all}},
		"a message is sent to a thread of a channel":         {say(talk), want{im.MessageCreated: few, im.ThreadUpdated: all}},
		"a message is sent to a thread of a private channel": {say(secret), want{im.MessageCreated: few, im.ThreadUpdated: few}},
		"a message in a thread is revoked": {func(s *scene) {
			m := s.act(acting, post, "conversations/"+s.secret+"/messages", `{"type":"text","body":{"text":"news"}}`)["id"].(string)
			s.act(acting, post, "messages/"+m+"/revoke", "")
		}, want{im.MessageCreated: few, im.MessageRevoked: few, im.ThreadUpdated: {tablet, tablet, bob, bob}}},
		"a thread of a group is renamed":           {conversation(patch, thread, "", `{"name":"other"}`), want{im.ThreadUpdated: all}},
		"a thread of a channel is renamed":         {conversation(patch, talk, "", `{"name":"other"}`), want{im.ThreadUpdated: all}},
		"a thread of a private channel is renamed": {conversation(patch, secret, "", `{"name":"other"}`), want{im.ThreadUpdated: few}},
		"a thread of a group is deleted":           {conversation(remove, thread, "?scope=everyone", ""), want{im.ThreadDeleted: all}},
		"a thread of a channel is deleted":         {conversation(remove, talk, "?scope=everyone", ""), want{im.ThreadDeleted: all}},
		"a thread of a private channel is deleted": {conversation(remove, secret, "?scope=everyone", ""), want{im.ThreadDeleted: few}},
		"somebody joins a thread of a group":       {func(s *scene) { s.act(hider, post, "conversations/"+s.thread+"/join", "") }, want{im.MemberAdded: {acting, tablet, bob}}},
		"somebody joins a thread of a channel":     {func(s *scene) { s.act(hider, post, "conversations/"+s.talk+"/join", "") }, want{im.MemberAdded: {acting, tablet, bob}}},
		"somebody leaves a thread":                 {conversation(post, thread, "/leave", ""), want{im.MemberRemoved: few}},
		"somebody is removed from a thread":        {conversation(remove, talk, "/members/bob", ""), want{im.MemberRemoved: few}},
		"leaving a group leaves its threads":       {func(s *scene) { s.act(acting, remove, "conversations/"+s.group+"/members/bob", "") }, want{im.MemberRemoved: {tablet, tablet, bob, bob, hider}}},

		// Spaces.
		"a space is created":                    {func(s *scene) { s.act(acting, post, "spaces", `{"name":"new"}`) }, want{im.SpaceCreated: owner}},
		"a space is renamed":                    {space(patch, "", `{"name":"other"}`), want{im.SpaceUpdated: all}},
		"a space is deleted":                    {space(remove, "", ""), want{im.SpaceDeleted: all}},
		"somebody is invited to a space":        {space(post, "/invitations", `{"users":["eve","bob"]}`), want{im.SpaceInvited: {nobody}}},
		"an invitation to a space is withdrawn": {func(s *scene) { s.invite("eve"); s.act(acting, remove, "spaces/"+s.space+"/invitations/eve", "") }, want{im.SpaceInvited: {nobody}, im.SpaceUninvited: {nobody}}},
		"an invitation to a space is declined":  {func(s *scene) { s.invite("eve"); s.act(nobody, remove, "spaces/"+s.space+"/invitations/eve", "") }, want{im.SpaceInvited: {nobody}}},
		"somebody is invited to a group":        {invited(group), want{im.ConversationInvited: {nobody}}},
		"somebody is invited to a room":         {invited(room), want{im.ConversationInvited: {nobody}}},
		"an invitation to a group is withdrawn": {func(s *scene) { invited(group)(s); conversation(remove, group, "/invitations/eve", "")(s) }, want{im.ConversationInvited: {nobody}, im.ConversationUninvited: {nobody}}},
		"an invitation to a group is declined": {func(s *scene) {
			invited(room)(s)
			s.act(nobody, remove, "conversations/"+s.room+"/invitations/eve", "")
		}, want{im.ConversationInvited: {nobody}}},
		"an invitation to a group ends by a denial": {func(s *scene) { invited(group)(s); conversation(put, group, "/lists/deny/eve", "")(s) }, want{im.ConversationInvited: {nobody}, im.ConversationUninvited: {nobody}}},
		"an invitation to a space is accepted":      {func(s *scene) { s.invite("dave"); s.act(former, post, "spaces/"+s.space+"/join", "") }, want{im.SpaceInvited: {former}}},
		"somebody is added to a space":              {space(post, "/members", `{"members":["eve","frank"]}`), want{im.MemberAdded: {nobody}}},
		"somebody is removed from a space":          {space(remove, "/members/carol", ""), want{im.MemberRemoved: {hider, tablet, bob}}}, // one is about the thread in the den
		"somebody leaves a space": {func(s *scene) {
			s.act(bob, post, "spaces/"+s.space+"/leave", "")
		}, want{im.MemberRemoved: {acting, acting, tablet, tablet}}}, // about two threads
		"somebody is muted in a space":   {space(put, "/members/bob/mute", `{"seconds":60}`), want{im.MemberUpdated: {bob}}},
		"somebody is unmuted in a space": {func(s *scene) { space(put, "/members/bob/mute", "")(s); space(remove, "/members/bob/mute", "")(s) }, want{im.MemberUpdated: {bob, bob}}},
		"a space is handed over":         {space(patch, "/members/bob", `{"role":"owner"}`), want{im.MemberUpdated: {tablet, bob}, im.SpaceUpdated: all}},
		"a space is handed over, after other events": {func(s *scene) {
			s.act(acting, put, "conversations/"+s.vault+"/lists/allow/alice", "") // she still sees it
			say(vault)(s)
			space(patch, "/members/bob", `{"role":"owner"}`)(s)
		}, want{im.MessageCreated: owner, im.MemberUpdated: {tablet, bob}, im.SpaceUpdated: all}},
		"a space is handed over, before other events": {func(s *scene) {
			space(patch, "/members/bob", `{"role":"owner"}`)(s)
			s.say("bob", s.vault, "mine now")
		}, want{im.MemberUpdated: {tablet, bob}, im.SpaceUpdated: all, im.MessageCreated: {bob}}},
		"a space is deleted, after other events": {func(s *scene) {
			space(post, "/channels", `{"name":"new","visibility":"private"}`)(s)
			space(remove, "", "")(s)
		}, want{im.ChannelCreated: owner, im.SpaceDeleted: all}},

		// Roles.
		"a role is created":               {space(post, "/roles", `{"name":"new","permissions":{"kick":"allow"}}`), want{im.RoleCreated: all}},
		"a role is changed":               {func(s *scene) { space(patch, "/roles/"+s.role, `{"permissions":{"view":"deny"}}`)(s) }, want{im.RoleUpdated: all}},
		"the role everyone is changed":    {space(patch, "/roles/everyone", `{"permissions":{"view":"deny"}}`), want{im.RoleUpdated: all}},
		"a role is given":                 {func(s *scene) { space(put, "/roles/"+s.role+"/members/carol", "")(s) }, want{im.MemberUpdated: {hider}}},
		"a role is taken":                 {func(s *scene) { space(remove, "/roles/"+s.role+"/members/bob", "")(s) }, want{im.MemberUpdated: {bob}}},
		"all roles of a member are taken": {space(patch, "/members/bob", `{"roles":[]}`), want{im.MemberUpdated: {bob}}},
		"a role is deleted":               {func(s *scene) { space(remove, "/roles/"+s.role, "")(s) }, want{im.RoleDeleted: all}},

		// Channels.
		"a channel is created":                                {space(post, "/channels", `{"name":"new"}`), want{im.ChannelCreated: all}},
		"a private channel is created":                        {space(post, "/channels", `{"name":"new","visibility":"private"}`), want{im.ChannelCreated: owner}},
		"a channel is renamed":                                {conversation(patch, lobby, "", `{"name":"other"}`), want{im.ChannelUpdated: all}},
		"a channel that denies somebody is renamed":           {conversation(patch, closed, "", `{"name":"other"}`), want{im.ChannelUpdated: few}},
		"a private channel is renamed":                        {conversation(patch, den, "", `{"name":"other"}`), want{im.ChannelUpdated: few}},
		"a channel for a role is renamed":                     {conversation(patch, staff, "", `{"name":"other"}`), want{im.ChannelUpdated: few}},
		"a channel becomes private":                           {conversation(patch, lobby, "", `{"visibility":"private"}`), want{im.ChannelUpdated: all}},
		"a private channel becomes public":                    {conversation(patch, den, "", `{"visibility":"public"}`), want{im.ChannelUpdated: all}},
		"a private channel becomes visible to everyone":       {conversation(put, den, "/overrides/everyone", `{"permissions":{"view":"allow"}}`), want{im.ChannelUpdated: all}},
		"a channel becomes invisible to its role":             {func(s *scene) { conversation(remove, staff, "/overrides/"+s.role, "")(s) }, want{im.ChannelUpdated: few}},
		"somebody is put on an allow list":                    {conversation(put, den, "/lists/allow/carol", ""), want{im.ChannelOpened: {hider}}},
		"somebody is removed from an allow list":              {conversation(remove, den, "/lists/allow/bob", ""), want{im.ChannelClosed: {bob}}},
		"somebody is put on a deny list":                      {conversation(put, lobby, "/lists/deny/bob", ""), want{im.ChannelClosed: {bob}}},
		"somebody is removed from a deny list":                {conversation(remove, closed, "/lists/deny/carol", ""), want{im.ChannelOpened: {hider}}},
		"somebody is muted in a channel":                      {conversation(put, lobby, "/members/bob/mute", ""), want{im.MemberUpdated: {bob}}},
		"a channel is pinned":                                 {conversation(patch, lobby, "", `{"pinned":true}`), want{im.ConversationUpdated: owner}},
		"a channel is deleted":                                {conversation(remove, lobby, "?scope=everyone", ""), want{im.ChannelDeleted: all}},
		"a private channel is deleted":                        {conversation(remove, den, "?scope=everyone", ""), want{im.ChannelDeleted: few}},
		"a channel for a role is deleted":                     {conversation(remove, staff, "?scope=everyone", ""), want{im.ChannelDeleted: few}},
		"a message is sent to a channel":                      {say(lobby), want{im.MessageCreated: all}},
		"a message is sent to a channel that denies somebody": {say(closed), want{im.MessageCreated: few}},
		"a message is sent to a private channel":              {say(den), want{im.MessageCreated: few}},
		"a message is sent to a channel for a role":           {say(staff), want{im.MessageCreated: few}},
		"a message in a channel is deleted":                   {func(s *scene) { s.act(acting, remove, "messages/"+s.dens, "") }, want{im.MessageRevoked: few}},
		"a message in a channel expires":                      {expireIn(den), want{im.MessageCreated: few, im.MessageExpired: {acting, tablet, bob}}},
		"a channel is trimmed, and its thread": {trimIn(lobby), want{
			im.ChannelUpdated: all, im.ConversationTrimmed: {acting, tablet, bob, hider, acting, tablet, bob}, im.ThreadUpdated: {acting, tablet, bob, hider},
		}},
		"a message in a channel is hidden":        {conversation(post, lobby, "/hide", `{"all":true}`), want{im.MessageHidden: owner}},
		"a hidden message is revoked":             {func(s *scene) { s.act(acting, post, "messages/"+s.lobbys+"/revoke", "") }, want{im.MessageRevoked: few}},
		"a hidden message in a thread is revoked": {func(s *scene) { s.act(acting, post, "messages/"+s.talks+"/revoke", "") }, want{im.MessageRevoked: owner, im.ThreadUpdated: all}},
		"an override is changed": {func(s *scene) {
			conversation(put, staff, "/overrides/everyone", `{"permissions":{"send":"deny"}}`)(s)
		}, want{im.ChannelUpdated: few}},
	}
}

// invite invites a user to the space.
func (s *scene) invite(user string) {
	s.t.Helper()
	s.act(acting, http.MethodPost, "spaces/"+s.space+"/invitations", fmt.Sprintf(`{"users":[%q]}`, user))
}

// threadIn creates a thread under a new message of a conversation.
func threadIn(target func(*scene) string) func(*scene) {
	return func(s *scene) {
		root := s.act(acting, http.MethodPost, "conversations/"+target(s)+"/messages", `{"type":"text","body":{"text":"root"}}`)["id"].(string)
		s.act(acting, http.MethodPost, "messages/"+root+"/thread", `{"name":"t"}`)
	}
}

// expireIn makes a message expire.
func expireIn(target func(*scene) string) func(*scene) {
	return func(s *scene) {
		s.act(acting, http.MethodPost, "conversations/"+target(s)+"/messages", `{"type":"text","body":{"text":"short"},"expire_after_seconds":3600}`)
		s.erase(2 * time.Hour)
	}
}

// trimIn trims a conversation by retention.
func trimIn(target func(*scene) string) func(*scene) {
	return func(s *scene) {
		s.act(acting, http.MethodPatch, "conversations/"+target(s), `{"settings":{"retention_days":1}}`)
		if err := s.later(25*time.Hour).Trim(s.t.Context(), time.Time{}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
}

// After a conversation was deleted, the log delivers its earlier events, but none about its
// messages, whether or not they are purged yet. Its threads or channels are deleted with it.
func TestReplayOfDeletedThreadsAndChannels(t *testing.T) {
	for name, tt := range map[string]struct {
		path       func(*scene) string
		about      func(*scene) []string
		last       im.EventType
		recipients []ear
	}{
		"a space": {
			func(s *scene) string { return "spaces/" + s.space },
			func(s *scene) []string { return []string{s.space, s.lobby, s.den, s.staff, s.talk, s.secret} },
			im.SpaceDeleted,
			[]ear{tablet, bob, hider},
		},
		"a channel": {
			func(s *scene) string { return "conversations/" + s.den + "?scope=everyone" },
			func(s *scene) []string { return []string{s.den, s.secret} },
			im.ChannelDeleted,
			[]ear{tablet, bob},
		},
		"a thread": {
			func(s *scene) string { return "conversations/" + s.talk + "?scope=everyone" },
			func(s *scene) []string { return []string{s.talk} },
			im.ThreadDeleted,
			[]ear{tablet, bob, hider},
		},
		"a group with its thread": {
			func(s *scene) string { return "conversations/" + s.group + "?scope=everyone" },
			func(s *scene) []string { return []string{s.group, s.thread} },
			im.ConversationDeleted,
			[]ear{tablet, bob, hider},
		},
		"a room": {
			func(s *scene) string { return "conversations/" + s.room + "?scope=everyone" },
			func(s *scene) []string { return []string{s.room} },
			im.ConversationDeleted,
			[]ear{tablet, bob, hider},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, (*scene).build)
			want := make(map[ear][]string)
			for _, e := range ears {
				want[e] = slices.DeleteFunc(s.logAbout(e, tt.about(s)), func(typ string) bool {
					return strings.HasPrefix(typ, "message.") && typ != string(im.MessageHidden)
				})
				if slices.Contains(tt.recipients, e) {
					want[e] = append(want[e], string(tt.last))
				}
			}
			s.act(acting, http.MethodDelete, tt.path(s), "")
			for _, purged := range []bool{false, true} {
				if purged {
					if err := s.later(0).Purge(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				for _, e := range ears {
					if got := s.logAbout(e, tt.about(s)); !slices.Equal(got, want[e]) {
						t.Errorf("%v, purged=%t: replayed %v, want %v", e, purged, got, want[e])
					}
				}
			}
		})
	}
}

// logAbout returns the types of the events about some conversations that the log delivers
// to a user.
func (s *scene) logAbout(e ear, ids []string) []string {
	s.t.Helper()
	var types []string
	for _, item := range s.page(e, "")["items"].([]any) {
		v := item.(map[string]any)
		for _, key := range []string{"conversation_id", "thread_id", "space_id"} {
			if target, _ := v[key].(string); target != "" && slices.Contains(ids, target) {
				types = append(types, v["type"].(string))
				break
			}
		}
	}
	return types
}
