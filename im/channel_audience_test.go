package im_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// channelWorld is a space in which everything changes that determines who can see its channels. It
// records which events each user must receive, going by what they can see when the event happens.
type channelWorld struct {
	*world
	r        *rand.Rand
	space    im.ID
	owner    im.UserID // of the space
	channels []im.ID
	threads  map[im.ID]im.ID // by channel
	roles    []im.ID
	users    []im.UserID
	expected map[im.UserID]map[im.Position]bool
}

func (w *channelWorld) user() im.UserID { return w.users[w.r.IntN(len(w.users))] }

func (w *channelWorld) sees(user im.UserID, id im.ID) bool {
	_, _, err := w.PermissionsIn(w.ctx, as(user), byID(id))
	return err == nil
}

// joined reports whether a user is a member of a thread and can see it.
func (w *channelWorld) joined(user im.UserID, thread im.ID) bool {
	v, err := w.Conversation(w.ctx, as(user), byID(thread))
	return err == nil && v.Me.IsMember()
}

// do makes a change and records who must receive its events: those who can see the channel, or have
// joined the thread and can see it, before or after the change.
func (w *channelWorld) do(what func() error) {
	w.Helper()
	type key struct {
		user im.UserID
		id   im.ID
	}
	look := func(into map[key]bool) {
		for _, user := range w.users {
			for _, c := range w.channels {
				into[key{user, c}] = w.sees(user, c)
				if th := w.threads[c]; th != 0 {
					into[key{user, th}] = w.joined(user, th)
				}
			}
		}
	}
	before, after := map[key]bool{}, map[key]bool{}
	look(before)
	n := len(w.committed())
	err := what()
	if _, refused := im.AsError(err); err != nil && !refused {
		w.Fatal(err)
	}
	look(after)
	for _, e := range w.committed()[n:] {
		for _, user := range w.users {
			k := key{user, e.Conversation}
			if e.To == user || e.To == "" && (after[k] || before[k]) {
				w.expected[user][e.Position] = true
			}
		}
	}
}

// step makes a random change.
func (w *channelWorld) step() {
	channel := w.channels[w.r.IntN(len(w.channels))]
	role := w.roles[w.r.IntN(len(w.roles))]
	user := w.user()
	grants := []im.Permissions{0, im.PermissionView, im.PermissionSend}
	allow, deny := grants[w.r.IntN(3)], grants[w.r.IntN(3)]
	deny &^= allow
	what := w.r.IntN(17)
	w.do(func() error {
		switch what {
		case 0:
			return w.PutListed(w.ctx, as(w.owner), byID(channel), im.AllowList, user)
		case 1:
			return w.DeleteListed(w.ctx, as(w.owner), byID(channel), im.AllowList, user)
		case 2:
			return w.PutListed(w.ctx, as(w.owner), byID(channel), im.DenyList, user)
		case 3:
			return w.DeleteListed(w.ctx, as(w.owner), byID(channel), im.DenyList, user)
		case 4:
			return w.GrantRole(w.ctx, as(w.owner), w.space, role, user)
		case 5:
			return w.RevokeRole(w.ctx, as(w.owner), w.space, role, user)
		case 6:
			_, _, err := w.UpdateRole(w.ctx, as(w.owner), w.space, role, im.RoleDraft{
				Allow: allow, Deny: deny, Inherit: im.PermissionView &^ (allow | deny), Position: w.r.IntN(3),
			})
			return err
		case 7:
			_, err := w.PutOverride(w.ctx, as(w.owner), byID(channel), im.Override{Role: role, Grants: im.Grants{Allow: allow, Deny: deny}})
			return err
		case 8:
			_, err := w.PutOverride(w.ctx, as(w.owner), byID(channel), im.Override{Role: im.Everyone, Grants: im.Grants{Allow: allow, Deny: deny}})
			return err
		case 9:
			private := w.r.IntN(2) == 0
			_, err := w.UpdateConversation(w.ctx, as(w.owner), byID(channel), im.ConversationPatch{Private: &private})
			return err
		case 10:
			if user != w.owner {
				return w.LeaveSpace(w.ctx, as(user), w.space)
			}
			return nil
		case 11:
			_, err := w.AddSpaceMembers(w.ctx, as(w.owner), w.space, []im.UserID{user})
			return err
		case 16:
			_, err := w.HandOverSpace(w.ctx, as(w.owner), w.space, user)
			if err == nil {
				w.owner = user
			}
			return err
		case 12:
			if th := w.threads[channel]; th != 0 {
				_, err := w.Join(w.ctx, as(user), byID(th))
				return err
			}
			return nil
		case 13:
			if th := w.threads[channel]; th != 0 {
				_, err := w.Send(w.ctx, as(w.owner), byID(th), text("in a thread"))
				return err
			}
			return nil
		default:
			_, err := w.Send(w.ctx, as(user), byID(channel), text("hi"))
			return err
		}
	})
	if w.threads[channel] == 0 && w.r.IntN(6) == 0 {
		w.do(func() error {
			sent, err := w.Send(w.ctx, as(w.owner), byID(channel), text("root"))
			if err != nil {
				return err
			}
			v, err := w.CreateThread(w.ctx, as(w.owner), sent.Message.ID, im.ThreadDraft{Name: "a thread"})
			w.threads[channel] = v.ID
			return err
		})
	}
}

// TestChannelEventsReachTheirViewers checks that every user receives exactly the events of
// channels that they could see when the events happened, from the log and from the hub's
// audience.
func TestChannelEventsReachTheirViewers(t *testing.T) {
	for seed := range testsize.Pick[uint64](6, 3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := &channelWorld{
				world: newWorld(t), r: rand.New(rand.NewPCG(seed, 1)),
				threads: map[im.ID]im.ID{}, expected: map[im.UserID]map[im.Position]bool{},
				users: []im.UserID{"owner", "a", "b", "c", "d"}, owner: "owner",
			}
			w.space = w.world.space("owner", "a", "b", "c")
			for range 2 {
				w.roles = append(w.roles, w.role(w.space, "owner", 0, 0))
			}
			w.channels = []im.ID{w.channel("owner", w.space, false), w.channel("owner", w.space, true)}
			for _, user := range w.users {
				w.expected[user] = map[im.Position]bool{}
			}
			bounds, err := w.LogBounds(w.ctx)
			w.must(err)
			for range testsize.Pick(120, 40) {
				w.step()
			}
			ours := map[im.ID]bool{}
			for _, c := range w.channels {
				ours[c], ours[w.threads[c]] = true, true
			}
			for _, user := range w.users {
				got := map[im.Position]bool{}
				for _, e := range w.replay(as(user), bounds.Head, 7) {
					if ours[e.Conversation] {
						got[e.Position] = true
					}
				}
				for _, e := range w.committed() {
					if e.Position <= bounds.Head || !ours[e.Conversation] {
						continue
					}
					want := w.expected[user][e.Position]
					if got[e.Position] != want {
						t.Errorf("%s, event %d %s of %v to %q: received %t, want %t", user, e.Position, e.Type, e.Conversation, e.To, !want, want)
					}
					if e.To != "" {
						continue
					}
					a, err := w.MembersAt(w.ctx, e.Conversation, e.Position, []im.UserID{user})
					w.must(err)
					if hub := len(a.Members) == 1; hub != want {
						t.Errorf("%s, event %d %s of %v: received live %t, want %t", user, e.Position, e.Type, e.Conversation, hub, want)
					}
				}
			}
		})
	}
}
