package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

var (
	// growTo is the largest number of messages of TestGrowth; make growth sets it.
	growTo = flag.Int("growth", 0, "the largest number of messages of TestGrowth, which is skipped without it")
	// growDir is where TestGrowth keeps the data it has made, for another run.
	growDir = flag.String("growth-dir", "", "a directory in which TestGrowth keeps its messages for another run")
	// growChart is the file that TestGrowth writes its chart to.
	growChart = flag.String("growth-chart", "", "the file of the chart of TestGrowth")
)

const (
	growRounds = 40 // the first rounds only fill caches
	growWarm   = 5
	growEach   = 5 // of each operation in a round
	growSpread = 1000
	growBatch  = 10_000 // messages stored in one transaction
	growUnread = 20     // messages of each group that alice has not read
	mostGrowth = 2.0
)

// grown is a node with a number of messages or members, and the operations on it.
type grown struct {
	size       int
	operations map[string]func()
	took       map[string][]time.Duration
}

// median returns the median time of an operation, in microseconds.
func (g *grown) median(operation string) float64 {
	took := slices.Sorted(slices.Values(g.took[operation]))
	return float64(took[len(took)/2].Nanoseconds()) / 1000
}

// measure alternates between the operations of all nodes, so that other load on the machine affects
// all alike.
func measure(all []*grown) {
	for round := range growRounds {
		for _, g := range all {
			for name, do := range g.operations {
				for range growEach {
					began := time.Now()
					do()
					if round >= growWarm {
						g.took[name] = append(g.took[name], time.Since(began))
					}
				}
			}
		}
	}
}

// TestGrowth measures each operation that clients do often among 10⁴ messages, ten times as
// many, and so on, and with 10² to 10⁵ members. With more of them, no operation may take
// more than twice as long.
func TestGrowth(t *testing.T) {
	if *growTo == 0 {
		t.Skip("make growth runs it")
	}
	var messages, members []*grown
	for size := 10_000; size <= *growTo; size *= 10 {
		messages = append(messages, growMessages(t, size))
	}
	measure(messages)
	n := startNode(t, "--synchronous", "normal", "--max-room-members", "200000")
	defer n.stop()
	for size := 100; size <= 100_000; size *= 10 {
		members = append(members, growMembers(t, n, size))
	}
	measure(members)
	reportGrowth(t, "messages", messages)
	reportGrowth(t, "members", members)
	if *growChart != "" {
		if err := os.WriteFile(*growChart, []byte(growthChart(messages, members)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// reportGrowth prints a table and fails for each operation whose time grows too much.
func reportGrowth(t *testing.T, of string, all []*grown) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "| µs, by number of %s |", of)
	for _, g := range all {
		fmt.Fprintf(&b, " %d |", g.size)
	}
	b.WriteString(" ratio |\n|---|" + strings.Repeat("---|", len(all)+1) + "\n")
	for _, name := range operationsOf(all) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, g := range all {
			fmt.Fprintf(&b, " %.0f |", g.median(name))
		}
		ratio := all[len(all)-1].median(name) / all[0].median(name)
		fmt.Fprintf(&b, " %.2f |\n", ratio)
		if ratio > mostGrowth {
			t.Errorf("%s takes %.2f times as long with %d times as many %s", name, ratio, all[len(all)-1].size/all[0].size, of)
		}
	}
	t.Logf("\n%s", b.String())
}

func operationsOf(all []*grown) []string {
	var names []string
	for name := range all[0].operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// got returns a value, or ends the test if there is an error.
func got[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// growText returns a text of random words. One of 300 words is the one that is searched for.
func growText(random *rand.Rand) []byte {
	var words []string
	for range 14 {
		words = append(words, fmt.Sprintf("word%d", random.IntN(300)))
	}
	return fmt.Appendf(nil, `{"text":%q}`, strings.Join(words, " "))
}

// growMessages returns a node with messages in a thousand groups of alice and bob; every
// tenth message is in the first group. Carol is in ten of the groups, and so receives about one
// message in a hundred. Dave is in a thousand other groups, which have a message each. Alice has
// read all but the newest messages of her groups. It logs the time that the node takes to start
// with them, and their size.
func growMessages(t *testing.T, size int) *grown {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	if *growDir != "" {
		dir = filepath.Join(*growDir, fmt.Sprint("messages-", size))
	}
	// On a busy machine a read may be slow once; the medians count.
	flags := []string{"--listen", "127.0.0.1:0", "--data", dir, "--rate", "0", "--synchronous", "normal", "--read-limit", "30s"}
	filled := filepath.Join(dir, "filled")
	if _, err := os.Stat(filled); err != nil {
		bytes := growFill(t, size, flags)
		if err := os.WriteFile(filled, strconv.AppendInt(nil, bytes/int64(size), 10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bytes := got[[]byte](t)(os.ReadFile(filled))
	c := got[config](t)(parseConfig(flags, io.Discard))
	began := time.Now()
	n, err := newNode(ctx, c, slog.New(slog.DiscardHandler))
	if err == nil {
		err = n.store.Ready(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages: %s bytes each, start in %v", size, bytes, time.Since(began).Round(time.Millisecond))
	t.Cleanup(n.close)
	var groups []im.ID // the one with the most messages first
	err = n.store.View(ctx, func(r im.Reader) error {
		ids, err := r.ConversationsOf("alice", 0, growSpread)
		if err != nil {
			return err
		}
		list, err := r.ConversationsByID(ids)
		slices.SortFunc(list, func(a, b im.Conversation) int { return cmp.Compare(b.LastSeq, a.LastSeq) })
		groups = nil
		for _, c := range list {
			groups = append(groups, c.ID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(size)))
	return &grown{size: size, took: make(map[string][]time.Duration), operations: growOperations(t, n.service, random, groups, size)}
}

// growFill makes the data of growMessages, and returns how many bytes the messages take.
func growFill(t *testing.T, size int, flags []string) int64 {
	t.Helper()
	ctx, random := t.Context(), rand.New(rand.NewPCG(3, uint64(size)))
	n := startNode(t, flags...)
	groups, quiet := make([]im.ID, growSpread), make([]im.ID, growSpread)
	for i := range groups {
		members := []im.UserID{"bob", "alice"}
		if i%(growSpread/10) == 1 {
			members = append(members, "carol")
		}
		groups[i] = n.group(members)
	}
	for i := range quiet {
		quiet[i] = n.group([]im.UserID{"bob", "dave"})
	}
	empty := sizeBelow(t, n.config.data)
	for done := 0; done < size; done += growBatch {
		err := n.store.Write(ctx, func(tx im.Tx) error {
			for i := done; i < done+growBatch; i++ {
				group := groups[random.IntN(len(groups))]
				switch every := size / growSpread; {
				case i%every == 5:
					group = quiet[i/every%growSpread]
				case i%10 == 0:
					group = groups[0]
				}
				content, err := im.Draft{Type: im.Text, Body: growText(random)}.Content(im.MinMessageBytes)
				if err != nil {
					return err
				}
				now := time.Now().UTC().Truncate(time.Millisecond)
				m := im.Message{ID: n.ids.Next(now), Conversation: group, Sender: "bob", Type: im.Text, State: im.Active, CreatedAt: now, Content: content}
				if _, _, err := tx.Send(m, im.Event{Type: im.MessageCreated, At: now, Conversation: group, Actor: "bob"}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// Store no faster than the search index writes, like an import.
		await.Until(t, "the search index has written most messages", func() bool { return n.store.SearchState().Waiting < 3*growBatch })
	}
	err := n.store.Write(ctx, func(tx im.Tx) error {
		for _, group := range groups {
			c, err := tx.Conversation(group)
			if err != nil {
				return err
			}
			if c.LastSeq > growUnread {
				if _, err := tx.PutReceipt(im.Read, group, "alice", im.SeqRange{From: 1, To: c.LastSeq - growUnread}, time.Now()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	return sizeBelow(t, n.config.data) - empty
}

// growOperations are the operations of alice, bob, carol and dave.
func growOperations(t *testing.T, s *im.Service, random *rand.Rand, groups []im.ID, size int) map[string]func() {
	t.Helper()
	ctx, alice, bob := context.Background(), im.Actor{User: "alice"}, im.Actor{User: "bob"}
	group := func() im.ConversationRef { return im.ConversationRef{ID: groups[random.IntN(len(groups))]} }
	send := func() im.Message {
		return got[im.Sent](t)(s.Send(ctx, bob, group(), im.Draft{Type: im.Text, Body: growText(random)})).Message
	}
	head := got[im.LogBounds](t)(s.LogBounds(ctx))
	room := got[im.Created](t)(s.CreateGroup(ctx, alice, im.GroupDraft{Kind: im.Room, Name: "room"}))
	joined := 0
	return map[string]func(){
		"send": func() { send() },
		"send and revoke": func() {
			got[im.Message](t)(s.Revoke(ctx, bob, send().ID, im.RevokeNote{}))
		},
		"history page of 50": func() {
			f := im.HistoryFilter{BeforeSeq: 52 + random.Int64N(int64(size/10-51)), Limit: 50}
			if page := got[im.HistoryPage](t)(s.Messages(ctx, alice, im.ConversationRef{ID: groups[0]}, f)); len(page.Messages) < 50 {
				t.Fatalf("%d messages on a page", len(page.Messages))
			}
		},
		"list of 50 conversations": func() {
			if page := got[im.ConversationPage](t)(s.Conversations(ctx, alice, im.ConversationFilter{Limit: 50})); len(page.Items) != 50 {
				t.Fatalf("%d conversations on a page", len(page.Items))
			}
		},
		"unread of one": func() {
			ref := group()
			got[im.Unread](t)(s.Unread(ctx, alice, &ref))
		},
		"search page of 20": func() {
			if page := got[im.SearchPage](t)(s.Search(ctx, alice, im.SearchFilter{Words: fmt.Sprintf("word%d", random.IntN(300)), Limit: 20})); len(page.Hits) < 10 {
				t.Fatalf("%d hits on a page", len(page.Hits))
			}
		},
		"replay of 256 events": func() {
			after := im.Position(random.Int64N(int64(head.Head) * 9 / 10))
			if w := got[im.EventWindow](t)(s.Events(ctx, alice, after, head.Head, 256)); len(w.Events) != 256 {
				t.Fatalf("%d events", len(w.Events))
			}
		},
		"replay of 50, 1 % of the log": func() {
			after := im.Position(random.Int64N(int64(head.Head) / 4))
			if w := got[im.EventWindow](t)(s.Events(ctx, im.Actor{User: "carol"}, after, head.Head, 50)); len(w.Events) != 50 {
				t.Fatalf("%d events", len(w.Events))
			}
		},
		"replay of 50, in 1,000 quiet groups": func() {
			after := im.Position(random.Int64N(int64(head.Head) / 2))
			if w := got[im.EventWindow](t)(s.Events(ctx, im.Actor{User: "dave"}, after, head.Head, 50)); len(w.Events) != 50 {
				t.Fatalf("%d events", len(w.Events))
			}
		},
		"unread of all 1,000 groups": func() {
			if u := got[im.Unread](t)(s.Unread(ctx, alice, nil)); len(u.Items) < growSpread*9/10 {
				t.Fatalf("%d conversations have unread messages", len(u.Items))
			}
		},
		"join": func() {
			joined++
			got[im.ConversationView](t)(s.Join(ctx, im.Actor{User: im.UserID(fmt.Sprintf("visitor-%d", joined))}, im.ConversationRef{ID: room.ID}))
		},
	}
}

// growMembers returns the operations in a room with a number of members.
func growMembers(t *testing.T, n *benchNode, size int) *grown {
	t.Helper()
	ctx, random := context.Background(), rand.New(rand.NewPCG(2, uint64(size)))
	users := make([]im.UserID, size)
	for i := range users {
		users[i] = im.UserID(fmt.Sprintf("member-%d-%d", size, i))
	}
	owner := im.Actor{User: users[0]}
	room := got[im.Created](t)(n.service.CreateGroup(ctx, owner, im.GroupDraft{Kind: im.Room, Name: "room"}))
	ref := im.ConversationRef{ID: room.ID}
	for some := range slices.Chunk(users[1:], 1000) {
		if _, err := n.service.AddMembers(ctx, owner, ref, some, im.Member); err != nil {
			t.Fatal(err)
		}
	}
	n.fill(users[0], room.ID, 1000)
	who := func() im.Actor { return im.Actor{User: users[random.IntN(size)]} }
	joined := 0
	return &grown{size: size, took: make(map[string][]time.Duration), operations: map[string]func(){
		"send": func() {
			got[im.Sent](t)(n.service.Send(ctx, who(), ref, im.Draft{Type: im.Text, Body: growText(random)}))
		},
		"send and revoke": func() {
			by := who()
			m := got[im.Sent](t)(n.service.Send(ctx, by, ref, im.Draft{Type: im.Text, Body: growText(random)})).Message
			got[im.Message](t)(n.service.Revoke(ctx, by, m.ID, im.RevokeNote{}))
		},
		"history page of 50": func() {
			got[im.HistoryPage](t)(n.service.Messages(ctx, who(), ref, im.HistoryFilter{BeforeSeq: 52 + random.Int64N(900), Limit: 50}))
		},
		"list of conversations": func() {
			got[im.ConversationPage](t)(n.service.Conversations(ctx, who(), im.ConversationFilter{Limit: 50}))
		},
		"join": func() {
			joined++
			got[im.ConversationView](t)(n.service.Join(ctx, im.Actor{User: im.UserID(fmt.Sprintf("visitor-%d-%d", size, joined))}, ref))
		},
	}}
}

// sizeBelow returns the size of all files below a directory.
func sizeBelow(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && !strings.HasSuffix(d.Name(), "-wal") {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// The chart: two panels with logarithmic axes.
const (
	chartWidth, chartHeight = 1020, 420
	panelWidth, panelHeight = 250, 320
	panelTop                = 50
	chartLeast, chartMost   = 10.0, 100_000.0 // microseconds
)

var chartColors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#000000", "#999999", "#7f3c8d", "#3969ac", "#a5aa99"}

// growthChart draws the median time of each operation by size, as SVG.
func growthChart(messages, members []*grown) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	growthPanel(&b, 60, "messages", messages)
	growthPanel(&b, 560, "members of a room", members)
	b.WriteString("</svg>\n")
	return b.String()
}

func growthPanel(b *strings.Builder, left float64, of string, all []*grown) {
	least, most := math.Log10(float64(all[0].size)), math.Log10(float64(all[len(all)-1].size))
	x := func(size int) float64 { return left + panelWidth*(math.Log10(float64(size))-least)/max(most-least, 1) }
	y := func(us float64) float64 {
		return panelTop + panelHeight*(1-(math.Log10(us)-math.Log10(chartLeast))/(math.Log10(chartMost)-math.Log10(chartLeast)))
	}
	fmt.Fprintf(b, `<text x="%.0f" y="24" font-size="14" font-weight="bold">Median time by number of %s</text>`+"\n", left, of)
	for us := chartLeast; us <= chartMost; us *= 10 {
		label := fmt.Sprintf("%g µs", us)
		if us >= 1000 {
			label = fmt.Sprintf("%g ms", us/1000)
		}
		fmt.Fprintf(b, `<path d="M%.0f %.1fh%d" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			left, y(us), panelWidth, left-6, y(us)+4, label)
	}
	for _, g := range all {
		fmt.Fprintf(b, `<text x="%.0f" y="%d" text-anchor="middle" fill="#555">10<tspan dy="-4" font-size="9">%.0f</tspan></text>`+"\n",
			x(g.size), panelTop+panelHeight+18, math.Log10(float64(g.size)))
	}
	type label struct {
		name, color string
		at          float64
	}
	var labels []label
	for i, name := range operationsOf(all) {
		color := chartColors[i%len(chartColors)]
		var points []string
		for _, g := range all {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(g.size), y(g.median(name))))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(g.size), y(g.median(name)), color)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), color)
		first, last := all[0].median(name), all[len(all)-1].median(name)
		labels = append(labels, label{fmt.Sprintf("%s (×%.2f)", name, last/first), color, y(last)})
	}
	// Labels that would overlap are moved apart.
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.at, b.at) })
	at := 0.0
	for _, l := range labels {
		at = max(l.at, at+15)
		fmt.Fprintf(b, `<text x="%.0f" y="%.1f" fill="%s">%s</text>`+"\n", left+panelWidth+10, at+4, l.color, l.name)
	}
}
