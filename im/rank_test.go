package im_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// ranked is a space with a public channel and the role "high" above the role "mod". Both have all
// permissions that a role can have, except those that a test omits.
type ranked struct {
	*world
	space, channel    im.ID
	highRole, modRole im.ID
	lowRole           im.ID
}

func newRanked(t *testing.T, high im.Permissions) *ranked {
	w := newWorld(t)
	r := &ranked{world: w, space: w.space("owner", "high", "mod", "low")}
	r.highRole = w.role(r.space, "owner", high, 0, "high")
	r.modRole = w.role(r.space, "owner", im.RolePermissions, 0, "mod")
	r.lowRole = w.role(r.space, "owner", 0, 0, "low")
	r.channel = w.channel("owner", r.space, false)
	return r
}

func (r *ranked) override(by im.UserID, role im.ID, g im.Grants) error {
	_, err := r.PutOverride(r.ctx, as(by), byID(r.channel), im.Override{Role: role, Grants: g})
	return err
}

func (r *ranked) sees(user im.UserID) bool {
	_, may, err := r.PermissionsIn(r.ctx, as(user), byID(r.channel))
	return err == nil && may.Has(im.PermissionView)
}

// TestRankHoldsForChannels checks that a member cannot shut a higher role out of a channel.
func TestRankHoldsForChannels(t *testing.T) {
	private := true
	below := "permission_denied: you may only take view from roles below your highest"
	for name, tt := range map[string]struct {
		act  func(r *ranked) error
		want string
	}{
		"denying view by an override of everyone": {func(r *ranked) error { return r.override("mod", im.Everyone, im.Grants{Deny: im.PermissionView}) }, below},
		"making the channel private": {func(r *ranked) error {
			_, err := r.UpdateConversation(r.ctx, as("mod"), byID(r.channel), im.ConversationPatch{Private: &private})
			return err
		}, below},
		"denying a permission to everyone in the space": {func(r *ranked) error {
			_, _, err := r.UpdateRole(r.ctx, as("mod"), r.space, im.Everyone, im.RoleDraft{Deny: im.PermissionView})
			return err
		}, below},
		"denying a permission that the higher role allows": {func(r *ranked) error {
			return r.override("mod", im.Everyone, im.Grants{Deny: im.PermissionManageRoles})
		}, "permission_denied: you may only take manage_roles from roles below your highest"},
		"an override of the higher role": {
			func(r *ranked) error { return r.override("mod", r.highRole, im.Grants{Deny: im.PermissionView}) },
			"permission_denied: you may only change roles below your highest",
		},
		"an override of the actor's own role": {
			func(r *ranked) error { return r.override("mod", r.modRole, im.Grants{Deny: im.PermissionView}) },
			"permission_denied: you may only change roles below your highest",
		},
		"denying a permission that the higher role has through everyone: allowed": {func(r *ranked) error { return r.override("mod", im.Everyone, im.Grants{Deny: im.PermissionSend}) }, ""},
		"an override of a lower role: allowed":                                    {func(r *ranked) error { return r.override("mod", r.lowRole, im.Grants{Deny: im.PermissionView}) }, ""},
		"where the higher role has an override: allowed": {func(r *ranked) error {
			r.must(r.override("owner", r.highRole, im.Grants{Allow: im.PermissionView}))
			_, err := r.UpdateConversation(r.ctx, as("mod"), byID(r.channel), im.ConversationPatch{Private: &private})
			return err
		}, ""},
		"deleting the override that allows view": {func(r *ranked) error {
			r.must(r.override("owner", im.Everyone, im.Grants{Allow: im.PermissionView}))
			_, err := r.UpdateConversation(r.ctx, as("owner"), byID(r.channel), im.ConversationPatch{Private: &private})
			r.must(err)
			return r.DeleteOverride(r.ctx, as("mod"), byID(r.channel), im.Everyone)
		}, below},
		"by a user with a higher role: allowed": {func(r *ranked) error {
			_, err := r.UpdateConversation(r.ctx, as("high"), byID(r.channel), im.ConversationPatch{Private: &private})
			return err
		}, ""},
		"by the owner: allowed": {func(r *ranked) error {
			return r.override("owner", im.Everyone, im.Grants{Deny: im.PermissionView})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRanked(t, im.PermissionManageRoles|im.PermissionManageConversation)
			err := tt.act(r)
			got := ""
			if err != nil {
				got = err.Error()
			}
			r.equal("answer", got, tt.want)
			if tt.want != "" {
				r.equal("high sees it", r.sees("high"), true)
			}
		})
	}
}

// TestRankHoldsAgainstRandomChanges checks that a higher role keeps its view of a channel and
// its permissions there, whatever mod changes.
func TestRankHoldsAgainstRandomChanges(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 11))
		own := im.PermissionManageRoles | im.PermissionMute
		r := newRanked(t, own)
		for step := range 150 {
			bits := im.Permissions(random.Uint32()) & im.ChannelPermissions & im.Permissions(random.Uint32()) & im.Permissions(random.Uint32())
			g := im.Grants{Allow: bits}
			if random.IntN(2) == 0 {
				g = im.Grants{Deny: bits}
			}
			role := []im.ID{im.Everyone, r.lowRole, r.modRole, r.highRole}[random.IntN(4)]
			var err error
			switch random.IntN(4) {
			case 0, 1:
				err = r.override("mod", role, g)
			case 2:
				private := random.IntN(2) == 0
				_, err = r.UpdateConversation(r.ctx, as("mod"), byID(r.channel), im.ConversationPatch{Private: &private})
			default:
				_, _, err = r.UpdateRole(r.ctx, as("mod"), r.space, role, im.RoleDraft{
					Allow: g.Allow, Deny: g.Deny, Inherit: im.ChannelPermissions &^ (g.Allow | g.Deny) & im.Permissions(random.Uint32()),
				})
			}
			if _, refused := im.AsError(err); err != nil && !refused {
				t.Fatal(err)
			}
			_, may, err := r.PermissionsIn(r.ctx, as("high"), byID(r.channel))
			if err != nil || !may.Has(own|im.PermissionView) {
				t.Fatalf("seed %d, step %d: high may %b there, %v", seed, step, may, err)
			}
		}
	}
}

// TestAnOwnerIsNotMuted checks that a new owner is unmuted, in a space including its channels, and
// remains so after handing over.
func TestAnOwnerIsNotMuted(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.ownables() {
		w.must(w.mute(p, "owner", "member"))
		speak := im.PermissionSend
		w.equal(p.kind+": muted", w.mayIn(p, "member").Has(speak), false)
		var channel im.ID
		if p.kind == "space" {
			channel = w.channel("owner", p.id, false)
			_, err := w.MuteMember(w.ctx, as("owner"), byID(channel), "member", 0)
			w.must(err)
		}
		w.must(p.handOver("owner", "member"))
		w.equal(p.kind+": as the owner", w.mayIn(p, "member").Has(speak), true)
		if channel != 0 {
			w.equal("in a channel", w.try("member", channel), "ok")
		}
		w.must(p.handOver("member", "owner"))
		w.equal(p.kind+": afterwards", w.mayIn(p, "member").Has(speak), true)
		if channel != 0 {
			w.equal("in a channel, afterwards", w.try("member", channel), "ok")
		}
	}
}

// TestSlowModeCountsThreads checks that slow mode counts what a user does in a conversation
// and in its threads together.
func TestSlowModeCountsThreads(t *testing.T) {
	slow := 10 * time.Second
	type scene struct {
		*world
		conversation im.ID
		roots        []im.ID
		mine, theirs im.ID // threads
	}
	acts := map[string]func(s *scene, n int) error{
		"a message":                   func(s *scene, _ int) error { return s.send1(s.conversation) },
		"a message in a thread":       func(s *scene, _ int) error { return s.send1(s.theirs) },
		"a message in another thread": func(s *scene, _ int) error { return s.send1(s.mine) },
		"a thread": func(s *scene, n int) error {
			_, err := s.CreateThread(s.ctx, as("bob"), s.roots[n], im.ThreadDraft{Name: "another"})
			return err
		},
		"a new name of a thread": func(s *scene, n int) error {
			name := []string{"one name", "another name"}[n]
			_, err := s.UpdateConversation(s.ctx, as("bob"), byID(s.mine), im.ConversationPatch{Name: &name})
			return err
		},
	}
	for _, kind := range []string{"group", "channel"} {
		for first, do := range acts {
			for second, again := range acts {
				t.Run(kind+": "+first+", then "+second, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					s := &scene{world: w}
					if kind == "group" {
						s.conversation = w.group(im.HistoryAll, "owner", "bob")
					} else {
						s.conversation = w.channel("owner", w.space("owner", "bob"), false)
					}
					for range 2 {
						s.roots = append(s.roots, w.say("owner", byID(s.conversation), "root").ID)
					}
					mine, err := w.CreateThread(w.ctx, as("bob"), w.say("owner", byID(s.conversation), "root").ID, im.ThreadDraft{Name: "mine"})
					w.must(err)
					theirs, err := w.CreateThread(w.ctx, as("owner"), w.say("owner", byID(s.conversation), "root").ID, im.ThreadDraft{Name: "theirs"})
					w.must(err)
					_, err = w.Join(w.ctx, as("bob"), byID(theirs.ID))
					w.must(err)
					s.mine, s.theirs = mine.ID, theirs.ID
					_, err = w.UpdateConversation(w.ctx, as("owner"), byID(s.conversation), im.ConversationPatch{SlowMode: &slow})
					w.must(err)
					w.must(do(s, 0))
					w.equal("at once", answer(again(s, 1)), "429 slow_mode")
					w.pass(slow - time.Millisecond)
					w.equal("too soon", answer(again(s, 1)), "429 slow_mode")
					w.pass(time.Millisecond)
					w.equal("in time", answer(again(s, 1)), "ok")
					w.equal("exempt from slow mode", w.try("owner", s.theirs)+w.try("owner", s.theirs), "okok")
				})
			}
		}
	}
}

// send1 sends a message of bob.
func (w *world) send1(id im.ID) error {
	_, err := w.Send(w.ctx, as("bob"), byID(id), text("hi"))
	return err
}

// TestHiddenChannelsDoNotShowInRoles checks that overrides in a channel that the actor cannot see
// refuse only changes that would open the channel. Any other refusal would disclose it.
func TestHiddenChannelsDoNotShowInRoles(t *testing.T) {
	for name, act := range map[string]func(r *ranked, role im.ID) error{
		"given":   func(r *ranked, role im.ID) error { return r.GrantRole(r.ctx, as("mod"), r.space, role, "low") },
		"taken":   func(r *ranked, role im.ID) error { return r.RevokeRole(r.ctx, as("mod"), r.space, role, "high2") },
		"deleted": func(r *ranked, role im.ID) error { return r.DeleteRole(r.ctx, as("mod"), r.space, role) },
	} {
		for what, g := range map[string]im.Grants{
			"":                       {},
			" and is denied to send": {Deny: im.PermissionSend},
			" and may delete others": {Allow: im.PermissionView | im.PermissionDeleteOthers},
		} {
			t.Run(name+what, func(t *testing.T) {
				r := newRanked(t, 0)
				_, err := r.AddSpaceMembers(r.ctx, as("owner"), r.space, []im.UserID{"high2"})
				r.must(err)
				role := r.role(r.space, "owner", 0, 0, "high2")
				hidden := r.channel1("owner", true)
				if g != (im.Grants{}) {
					_, err := r.PutOverride(r.ctx, as("owner"), byID(hidden), im.Override{Role: role, Grants: g})
					r.must(err)
				}
				want := "ok"
				if name == "given" && g.Allow.Has(im.PermissionView) {
					want = "403 permission_denied" // roles cannot pass on a permission that the actor lacks
				}
				r.equal("answer", answer(act(r, role)), want)
			})
		}
	}
}

func (r *ranked) channel1(by im.UserID, private bool) im.ID {
	return r.world.channel(by, r.space, private)
}

// TestMutingDoesNotRevealFormerMembers checks that muting a former member gets the same answer as
// muting a stranger.
func TestMutingDoesNotRevealFormerMembers(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.ownables() {
		w.must(p.add("owner", "former"))
		w.must(p.add("owner", "high"))
		w.must(p.promote("owner", "high"))
		w.must(p.remove("former", "former"))
		for _, by := range []im.UserID{"owner", "member", "high"} {
			unmute := func(user im.UserID) error {
				if p.kind == "space" {
					return w.UnmuteSpaceMember(w.ctx, as(by), p.id, user)
				}
				return w.UnmuteMember(w.ctx, as(by), byID(p.id), user)
			}
			w.equal(p.kind+": muted by "+string(by), answer(w.mute(p, by, "former")), answer(w.mute(p, by, "stranger")))
			w.equal(p.kind+": unmuted by "+string(by), answer(unmute("former")), answer(unmute("stranger")))
		}
	}
}
