package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// twoDevices is alice with two devices, and the users she talks to.
type twoDevices struct {
	*model
	phone   device
	others  map[string]device
	barrier string // a group; a message in it ends the observation
	random  *rand.Rand
}

// pick returns one of a list, the zero value of an empty one.
func pick[T any](r *rand.Rand, list []T) T {
	if len(list) == 0 {
		var zero T
		return zero
	}
	return list[r.IntN(len(list))]
}

// conversation picks a conversation that alice is in.
func (w *twoDevices) conversation() (string, *view) {
	var ids []string
	for id, p := range w.views {
		if p.in && id != w.barrier {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	id := pick(w.random, ids)
	if id == "" {
		return "@bob", &view{}
	}
	return id, w.views[id]
}

// message picks a message that alice can read, usually a new one.
func (w *twoDevices) message(p *view) *shown {
	all := p.sorted()
	if w.random.IntN(3) > 0 {
		all = all[max(0, len(all)-4):]
	}
	if s := pick(w.random, all); s != nil {
		return s
	}
	return &shown{ID: "0000000000000"}
}

// other picks a user who has sent to a conversation, or may be a member.
func (w *twoDevices) other(p *view) string {
	for _, s := range p.sorted() {
		if s.Sender != w.me && w.random.IntN(4) > 0 {
			return s.Sender
		}
	}
	return pick(w.random, []string{"bob", "carol"})
}

// do makes a request that may be refused, but may not fail.
func (w *twoDevices) do(d device, method, path, body string) string {
	w.t.Helper()
	status, answer := d.ask(method, "/v1/"+path, body)
	if status >= 500 || status == http.StatusBadRequest || status == http.StatusMethodNotAllowed {
		w.t.Fatalf("%s %s %s: %d %s", method, path, body, status, answer)
	}
	return fmt.Sprintf("%s %s %s %s (%d)", d.name, method, path, body, status)
}

// draft returns a text that may mention alice, and may burn.
func (w *twoDevices) draft(conversation string) string {
	more := ""
	if w.random.IntN(3) == 0 {
		more += `,"mentions":["alice"]`
	}
	if w.random.IntN(3) == 0 && strings.HasPrefix(conversation, "@") {
		more += fmt.Sprintf(`,"burn":{"after_seconds":%d}`, 600*w.random.IntN(2))
	}
	return `{"type":"text","body":{"text":"words"}` + more + `}`
}

// step does something at random, on alice's phone or as another user, and returns a description.
func (w *twoDevices) step() string {
	id, p := w.conversation()
	s := w.message(p)
	other := w.other(p)
	at := "conversations/" + id
	them := w.others[other]
	sender := them
	if s.Sender == w.me {
		sender = w.phone
	}
	ids := func() string {
		list, _ := json.Marshal([]string{s.ID, w.message(p).ID})
		return string(list)
	}
	bit := func() bool { return w.random.IntN(2) == 0 }
	steps := []func() string{
		func() string { return w.do(w.phone, http.MethodPost, at+"/messages", w.draft(id)) },
		func() string {
			return w.do(w.phone, http.MethodPost, "conversations/@"+other+"/messages", w.draft("@"))
		},
		func() string {
			return w.do(w.phone, http.MethodPost, at+"/receipts", fmt.Sprintf(`{"kind":"read","up_to":%q}`, s.ID))
		},
		func() string {
			return w.do(w.phone, http.MethodPost, at+"/receipts", fmt.Sprintf(`{"kind":"read","message_ids":%s}`, ids()))
		},
		func() string { return w.do(w.phone, http.MethodPost, at+"/unread/clear", "") },
		func() string {
			return w.do(w.phone, http.MethodPost, at+"/hide", fmt.Sprintf(`{"message_ids":%s}`, ids()))
		},
		func() string {
			before, _ := json.Marshal(s.CreatedAt)
			return w.do(w.phone, http.MethodPost, at+"/hide", fmt.Sprintf(`{"before":%s}`, before))
		},
		func() string {
			return w.do(w.phone, http.MethodDelete, fmt.Sprintf("%s?keep_messages=%t", at, bit()), "")
		},
		func() string {
			return w.do(w.phone, http.MethodPatch, at, fmt.Sprintf(`{"pinned":%t,"muted":%t}`, bit(), bit()))
		},
		func() string { return w.do(w.phone, http.MethodPost, "messages/"+s.ID+"/revoke", "") },
		func() string { return w.do(sender, http.MethodPost, "messages/"+s.ID+"/revoke", "") },
		func() string {
			for _, s = range p.sorted() {
				if s.Burn != nil && s.State == "active" {
					break
				}
			}
			if s.Sender == w.me {
				return w.do(them, http.MethodPost, "messages/"+s.ID+"/burn", "")
			}
			return w.do(w.phone, http.MethodPost, "messages/"+s.ID+"/burn", "")
		},
		func() string {
			return w.do(them, http.MethodPost, at+"/receipts", fmt.Sprintf(`{"kind":"read","up_to":%q}`, s.ID))
		},
		func() string { return w.do(them, http.MethodPost, at+"/hide", `{"all":true}`) },
		func() string { return w.do(them, http.MethodPost, at+"/members", `{"members":["alice"]}`) },
		func() string { return w.do(them, http.MethodDelete, at+"/members/alice", "") },
		func() string {
			history := pick(w.random, []string{"joined", "all"})
			return w.do(them, http.MethodPatch, at, fmt.Sprintf(`{"settings":{"history":%q}}`, history))
		},
	}
	rare := []func() string{
		func() string { return w.do(w.phone, http.MethodPost, "unread/clear", "") },
		func() string { return w.do(w.phone, http.MethodPost, at+"/hide", `{"all":true}`) },
		func() string { return w.do(w.phone, http.MethodPost, at+"/leave", "") },
		func() string { return w.do(w.phone, http.MethodDelete, at+"?scope=everyone", "") },
		func() string { return w.do(them, http.MethodDelete, at+"?scope=everyone", "") },
		func() string { return w.newGroup(w.phone, other) },
		func() string { return w.newGroup(them, "alice") },
		w.back,
		func() string {
			return w.do(w.phone, http.MethodPut, "blocks/"+pick(w.random, []string{"bob", "eve"}), "")
		},
		func() string {
			return w.do(w.phone, http.MethodDelete, "blocks/"+pick(w.random, []string{"bob", "eve"}), "")
		},
	}
	switch n := w.random.IntN(30); {
	case n < 11: // the other steps need messages
		if strings.HasPrefix(id, "@") || n < 5 {
			return w.do(them, http.MethodPost, "conversations/@alice/messages", w.draft("@"))
		}
		return w.do(them, http.MethodPost, at+"/messages", w.draft(id))
	case n < 14:
		return pick(w.random, rare)()
	default:
		return pick(w.random, steps)()
	}
}

func (w *twoDevices) newGroup(owner device, member string) string {
	history := pick(w.random, []string{"joined", "all"})
	return w.do(owner, http.MethodPost, "conversations",
		fmt.Sprintf(`{"kind":"group","name":"group","members":[%q],"settings":{"history":%q}}`, member, history))
}

// back makes another user add alice to a conversation that she was removed from.
func (w *twoDevices) back() string {
	for _, id := range slices.Sorted(maps.Keys(w.views)) {
		if !w.views[id].in {
			for _, d := range w.others {
				w.do(d, http.MethodPost, "conversations/"+id+"/members", `{"members":["alice"]}`)
			}
			return "alice is back in " + id
		}
	}
	return "nothing"
}

// sync sends a message that ends the observation, and returns its id.
func (w *twoDevices) sync() string {
	w.t.Helper()
	return w.others["zoe"].send(w.barrier, "so far", "").ID
}

// hear applies the events received up to that message.
func (w *twoDevices) hear(e *ear, end string) {
	w.t.Helper()
	for _, h := range e.untilMessage(end) {
		var event news
		if err := json.Unmarshal([]byte(h.raw), &event); err != nil {
			w.t.Fatal(err)
		}
		w.take(event, true)
	}
}

// catchUp applies the log after a cursor and returns the new cursor.
func (w *twoDevices) catchUp(cursor string) string {
	w.t.Helper()
	for {
		var page struct {
			Items  []news
			Cursor string
			Next   string `json:"next_page_token"`
		}
		w.events(cursor, &page)
		for _, e := range page.Items {
			w.take(e, false)
		}
		if cursor = page.Cursor; page.Next == "" {
			return cursor
		}
	}
}

// A client that applies the events of one device agrees with the server about the actions of the
// user's other device and of other users, both live and after having been offline.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		t.Run(map[bool]string{false: "both connected", true: "one often away"}[away], func(t *testing.T) {
			s := startServer(t)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			tablet := s.device("alice", "tablet")
			w := &twoDevices{
				model:  &model{device: tablet, me: "alice", views: make(map[string]*view), blocked: make(map[string]bool)},
				phone:  s.device("alice", "phone"),
				others: map[string]device{"bob": s.device("bob", "bob"), "carol": s.device("carol", "carol"), "zoe": s.device("zoe", "zoe")},
				random: rand.New(rand.NewPCG(seed, 0)),
			}
			ears := tablet.listen("")
			w.barrier = w.others["zoe"].group("alice")
			w.newGroup(w.phone, "bob")
			w.newGroup(w.others["bob"], "alice")
			w.newGroup(w.others["carol"], "alice")
			end := w.sync()
			w.hear(ears, end)
			w.check("the beginning")
			cursor := tablet.cursor()
			for range 250 {
				if !away {
					did := w.step()
					end = w.sync()
					w.hear(ears, end)
					w.check(did)
					continue
				}
				did := ""
				for range 1 + w.random.IntN(10) {
					did += "\n  " + w.step()
				}
				cursor = w.catchUp(cursor)
				w.check(did)
			}
		})
	}
}
