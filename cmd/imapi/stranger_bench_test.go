package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// BenchmarkStranger sends one message after another while others request long writes all at
// once: 48 changes of roles in a space of 100 channels and 100 roles with 20 overrides per channel,
// by one user and by 48; 200 requests that revoke 100 messages each, which are too old for their
// words to be in memory; leaving a group with 12,000 joined threads; and 2,000 members added to
// each of 8 rooms. It reports the latency of the sends until the last of the other requests is
// answered or 20 s have passed, and the number of the others that were answered by then.
func BenchmarkStranger(b *testing.B) {
	for _, load := range []struct {
		name string
		make func(*strangers) []ask
	}{
		{"alone", func(*strangers) []ask { return nil }},
		{"roles-of-one", func(s *strangers) []ask { return s.roles(1) }},
		{"roles-of-48", func(s *strangers) []ask { return s.roles(48) }},
		{"revokes", (*strangers).revokes},
		{"leave", (*strangers).leave},
		{"members", (*strangers).members},
	} {
		b.Run(load.name, func(b *testing.B) {
			n := startNode(b)
			defer n.stop()
			s := &strangers{b, n}
			asks := load.make(s)
			var took []time.Duration
			answered := 0
			for b.Loop() {
				done, t := s.run(asks)
				took, answered = append(took, t...), answered+done
			}
			slices.Sort(took)
			at := func(part float64) float64 {
				return float64(took[int(part*float64(len(took)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(float64(len(took)), "sends")
			b.ReportMetric(float64(answered), "answered")
		})
	}
}

// ask is a request of a user.
type ask struct {
	user               im.UserID
	method, path, body string
}

type strangers struct {
	b *testing.B
	*benchNode
}

// run makes the requests, and sends a stranger's messages at the same time.
func (s *strangers) run(asks []ask) (answered int, took []time.Duration) {
	end := make(chan struct{})
	results := make(chan error, len(asks))
	for _, a := range asks {
		c := dial(s.b, s.addr)
		defer func() { _ = c.Close() }()
		header := []string{"Content-Length", fmt.Sprint(len(a.body))}
		if a.body != "" {
			header = append(header, "Content-Type", "application/json")
		}
		req := append(request(a.method, a.path, mintFor(s.b, s.secret, string(a.user)), header...), "\r\n"...)
		req = append(req, a.body...)
		go func() {
			res, err := c.roundTrip(req)
			if err == nil && res.StatusCode >= http.StatusBadRequest && res.StatusCode != http.StatusServiceUnavailable {
				err = fmt.Errorf("%s %s: %s", a.method, a.path, res.Status)
			}
			results <- err
		}()
	}
	go func() {
		defer close(end)
		if len(asks) == 0 {
			time.Sleep(2 * time.Second)
		}
		late := time.After(20 * time.Second)
		for range asks {
			select {
			case err := <-results:
				if err != nil {
					s.b.Error(err)
				}
				answered++
			case <-late:
				return
			}
		}
	}()
	c := dial(s.b, s.addr)
	defer func() { _ = c.Close() }()
	body := fmt.Sprintf(`{"type":"text","body":{"text":"%s"}}`, benchText)
	req := append(request(http.MethodPost, "/v1/conversations/@friend/messages", mintFor(s.b, s.secret, "stranger"),
		"Content-Type", "application/json", "Content-Length", fmt.Sprint(len(body))), "\r\n"...)
	req = append(req, body...)
	for {
		began := time.Now()
		if err := c.expect(http.StatusCreated, req); err != nil {
			s.b.Fatal(err)
		}
		took = append(took, time.Since(began))
		select {
		case <-end:
			return answered, took
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *strangers) must(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

// roles makes each user change the position of a role.
func (s *strangers) roles(users int) (asks []ask) {
	ctx, owner := context.Background(), im.Actor{User: "owner"}
	space, err := s.service.CreateSpace(ctx, owner, im.SpaceDraft{Name: "bench"})
	s.must(err)
	managers := benchUsers(users)
	_, err = s.service.AddSpaceMembers(ctx, owner, space.ID, managers)
	s.must(err)
	var channels []im.ID
	for i := range 100 {
		c, err := s.service.CreateChannel(ctx, owner, space.ID, im.ChannelDraft{Name: fmt.Sprint(i)})
		s.must(err)
		channels = append(channels, c.ID)
	}
	roles := im.RoleSet{{ID: s.ids.Next(time.Now()), Grants: im.Grants{Allow: im.RolePermissions}}}
	for range 98 {
		roles = append(roles, im.SpaceRole{ID: s.ids.Next(time.Now())})
	}
	roles = append(roles, im.SpaceRole{ID: im.Everyone, Grants: im.Grants{Allow: im.DefaultPermissions}})
	s.must(s.store.Write(ctx, func(tx im.Tx) error {
		bounds, err := tx.LogBounds()
		if err != nil {
			return err
		}
		if err := tx.PutRoles(space.ID, im.SpaceRoles{Roles: roles}, bounds.Head); err != nil {
			return err
		}
		var access im.ChannelAccess
		for _, r := range roles[1:21] {
			access.Overrides = append(access.Overrides, im.Override{Role: r.ID, Grants: im.Grants{Allow: im.PermissionSend}})
		}
		for _, id := range channels {
			if err := tx.PutAccess(id, access, bounds.Head); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, user := range managers {
		s.must(s.service.GrantRole(ctx, owner, space.ID, roles[0].ID, user))
	}
	for i := range 48 {
		asks = append(asks, ask{
			managers[i%users], http.MethodPatch, fmt.Sprintf("/v1/spaces/%v/roles/%v", space.ID, roles[1+i%20].ID),
			fmt.Sprintf(`{"position":%d}`, 30+i),
		})
	}
	return asks
}

// revokes makes the owner of a group revoke old messages of another member.
func (s *strangers) revokes() (asks []ask) {
	const requests, each = 200, 100
	group := s.group([]im.UserID{"owner", "author"})
	var ids []string
	s.fill("author", group, requests*each, func(_ int, m *im.Message) { ids = append(ids, `"`+m.ID.String()+`"`) })
	s.fill("author", group, 1<<14+requests*each)
	for some := range slices.Chunk(ids[:requests*each], each) {
		asks = append(asks, ask{"owner", http.MethodPost, "/v1/messages/revoke", `{"ids":[` + strings.Join(some, ",") + `]}`})
	}
	return asks
}

// leave makes a user leave a group with many joined threads.
func (s *strangers) leave() []ask {
	group := s.group([]im.UserID{"owner", "leaver"})
	for range 24 {
		s.must(s.store.Write(context.Background(), func(tx im.Tx) error {
			bounds, err := tx.LogBounds()
			if err != nil {
				return err
			}
			for range 500 {
				now := time.Now().UTC().Truncate(time.Millisecond)
				c := im.Conversation{
					ID: s.ids.Next(now), Kind: im.Thread, Name: "t", History: im.HistoryAll, Parent: group, Root: s.ids.Next(now),
					FirstSeq: 1, CreatedAt: now, UpdatedAt: now, EditedAt: now, ActiveAt: now, Join: im.JoinClosed, Invite: im.InviteByAdmins,
				}
				if err := tx.CreateConversation(c); err != nil {
					return err
				}
				m := im.Membership{Conversation: c.ID, User: "leaver", Role: im.Member, JoinedAt: now}
				if err := tx.AddMember(m, bounds.Head); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return []ask{{"leaver", http.MethodDelete, fmt.Sprintf("/v1/conversations/%v/members/leaver", group), ""}}
}

// members makes owners of rooms add many members at once.
func (s *strangers) members() (asks []ask) {
	var names []string
	for _, user := range benchUsers(2000) {
		names = append(names, `"`+string(user)+`"`)
	}
	for i := range 8 {
		owner := im.UserID(fmt.Sprint("owner", i))
		v, err := s.service.CreateGroup(context.Background(), im.Actor{User: owner}, im.GroupDraft{Kind: im.Room, Name: "bench"})
		s.must(err)
		asks = append(asks, ask{
			owner, http.MethodPost, fmt.Sprintf("/v1/conversations/%v/members", v.ID), `{"members":[` + strings.Join(names, ",") + `]}`,
		})
	}
	return asks
}
