package im_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
)

func shown(m im.Message) string {
	if m.State != im.Active {
		return fmt.Sprintf("%d %s", m.Seq, m.State)
	}
	return fmt.Sprintf("%d %s", m.Seq, words(m))
}

// checkReceipts compares receipts, as lists and events report them to senders, with the
// model.
func (p *player) checkReceipts() {
	p.Helper()
	for _, conv := range p.conversations {
		for _, s := range conv.messages {
			if !s.receipt || !p.sees(conv, s.sender, s) {
				continue
			}
			r, err := p.Receipts(p.ctx, as(s.sender), s.id)
			p.must(err)
			got := make(map[im.UserID]bool)
			for _, rc := range r.Read {
				got[rc.User] = true
			}
			p.equal(fmt.Sprint("who has read ", s.seq, " of ", s.sender), got, s.readers)
			p.equal(fmt.Sprint("whose receipt was published for ", s.seq, " of ", s.sender), s.published, s.readers)
		}
	}
}

// check compares what every user sees with the model.
func (p *player) check() {
	p.Helper()
	p.checkReceipts()
	for _, user := range p.users {
		total, mentioned := 0, 0
		var order []*conv
		for _, conv := range p.conversations {
			if v := conv.users[user]; v == nil || !v.member {
				continue
			}
			p.checkConversation(conv, user)
			if conv.users[user].hiddenNow {
				continue
			}
			order = append(order, conv)
			n, mentions := p.model.unread(conv, user)
			total, mentioned = total+n, mentioned+mentions
		}
		all, err := p.Unread(p.ctx, as(user), nil)
		p.must(err)
		p.equal(fmt.Sprintf("all that %s has not read", user), fmt.Sprintf("%d/%d", all.Total, all.Mentions), fmt.Sprintf("%d/%d", total, mentioned))
		p.checkList(user, order)
		p.checkSearch(user)
	}
}

func (p *player) checkConversation(conv *conv, user im.UserID) {
	p.Helper()
	what := fmt.Sprintf("%v for %s: ", conv.id, user)
	var want []string
	for _, s := range p.visible(conv, user) {
		want = append(want, p.model.text(s))
	}
	for _, ascending := range []bool{true, false} {
		var got []string
		f := im.HistoryFilter{Ascending: ascending, Limit: 3}
		for {
			page, err := p.Messages(p.ctx, as(user), byID(conv.id), f)
			p.must(err)
			for _, m := range page.Messages {
				got = append(got, shown(m))
			}
			if f.Past = page.Next; f.Past == nil {
				break
			}
		}
		if !ascending {
			slices.Reverse(got)
		}
		p.equal(what+"history", got, want)
	}
	for _, s := range conv.messages {
		_, err := p.Message(p.ctx, as(user), s.id)
		p.equal(fmt.Sprint(what, s.seq), err == nil, p.sees(conv, user, s))
	}
	v, err := p.Conversation(p.ctx, as(user), byID(conv.id))
	p.must(err)
	n, mentions := p.model.unread(conv, user)
	p.equal(what+"unread", v.Unread, im.UnreadCount{Messages: n, Mentions: mentions})
	last := ""
	if v.LastMessage != nil {
		last = shown(*v.LastMessage)
	}
	newest := ""
	if visible := p.visible(conv, user); len(visible) > 0 {
		newest = p.model.text(slices.MaxFunc(visible, func(a, b *said) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		}))
	}
	p.equal(what+"preview", last, newest)
	p.equal(what+"hidden", v.Hidden, conv.users[user].hiddenNow)
}

func (p *player) checkList(user im.UserID, want []*conv) {
	p.Helper()
	listed := func(c *conv) time.Time {
		return slices.MaxFunc([]time.Time{c.active, c.users[user].joined}, time.Time.Compare)
	}
	slices.SortFunc(want, func(a, b *conv) int {
		return cmp.Or(listed(b).Compare(listed(a)), cmp.Compare(b.id, a.id))
	})
	var got, ids []im.ID
	for _, conv := range want {
		ids = append(ids, conv.id)
	}
	f := im.ConversationFilter{Limit: 2}
	for {
		page, err := p.Conversations(p.ctx, as(user), f)
		p.must(err)
		for _, v := range page.Items {
			got = append(got, v.ID)
		}
		if f.Past, f.AsOf, f.Through = page.Next, page.AsOf, page.Through; f.Past == nil {
			break
		}
	}
	p.equal(fmt.Sprintf("the list of %s", user), got, ids)
}

// checkSearch searches for words, including parts of others.
func (p *player) checkSearch(user im.UserID) {
	p.Helper()
	for query, matches := range map[string]func(string) bool{
		"app":   func(s string) bool { return strings.Contains(" "+s, " app") || strings.Contains(s, "ＡＰＰ") },
		"上海":    func(s string) bool { return strings.Contains(s, "上海") },
		"apple": func(s string) bool { return strings.Contains(s, "apple") || strings.Contains(s, "ＡＰＰＬＥ") },
	} {
		want := make(map[im.ID]bool)
		for _, conv := range p.conversations {
			for _, s := range p.visible(conv, user) {
				if p.state(s) == 0 && matches(s.words) {
					want[s.id] = true
				}
			}
		}
		got := make(map[im.ID]bool)
		f := im.SearchFilter{Words: query, Limit: 3}
		last := im.ID(0)
		for {
			page, err := p.Search(p.ctx, as(user), f)
			p.must(err)
			for _, hit := range page.Hits {
				id := hit.Message.ID
				if got[id] || last != 0 && id >= last {
					p.Errorf("%s finds %v twice or out of order", user, id)
				}
				got[id], last = true, id
			}
			if f.Past = page.Next; f.Past == 0 {
				break
			}
		}
		p.equal(fmt.Sprintf("what %s finds of %q", user, query), got, want)
	}
}
