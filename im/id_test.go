package im_test

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestIDText(t *testing.T) {
	ids := []im.ID{1, 31, 32, 1<<21 - 1, 1 << 21, 1 << 62, math.MaxInt64 - 1, math.MaxInt64, math.MinInt64 + 1, -1}
	var texts []string
	for _, id := range ids {
		text := id.String()
		if len(text) != 13 {
			t.Errorf("%d is %q, of %d characters", int64(id), text, len(text))
		}
		if back, ok := im.ParseID(text); !ok || back != id {
			t.Errorf("%q reads as %d, %t, want %d", text, int64(back), ok, int64(id))
		}
		texts = append(texts, text)
	}
	if !slices.IsSorted(texts) {
		t.Errorf("the texts of rising ids do not rise: %q", texts)
	}
	for text, id := range map[string]im.ID{
		"0000000000001": 1,
		"000000000000v": 31,
		"0000000000010": 32,
		"7vvvvvvvvvvvv": math.MaxInt64,
		"8000000000001": math.MinInt64 + 1,
		"fvvvvvvvvvvvv": -1,
	} {
		if id.String() != text {
			t.Errorf("%d is %q, want %q", int64(id), id, text)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	good := im.ID(1 << 50).String()
	for name, text := range map[string]string{
		"nothing":                "",
		"zero":                   "0000000000000",
		"one short":              good[1:],
		"one long":               good + "0",
		"the least integer":      "8000000000000",
		"more than 64 bits":      "g000000000000",
		"all bits":               "vvvvvvvvvvvvv",
		"upper case":             "000000000000V",
		"past the alphabet":      "000000000000w",
		"below the digits":       "000000000000/",
		"between digit and a":    "000000000000:",
		"before a":               "000000000000`",
		"a sign":                 "-000000000001",
		"space before":           " " + good[1:],
		"space after":            good[:12] + " ",
		"line end":               good + "\n",
		"a zero byte":            good[:12] + "\x00",
		"a letter of two bytes":  good[:11] + "é",
		"a digit that looks one": good[:10] + "１",
		"decimal":                "9223372036854775807",
		"a peer":                 "@00000000000a",
	} {
		if id, ok := im.ParseID(text); ok || (id != 0 && len(text) != 13) {
			t.Errorf("%s: %q reads as %d, %t", name, text, int64(id), ok)
		}
	}
}

// TestParseIDHasOneText tries every byte at every index: each id has exactly one text.
func TestParseIDHasOneText(t *testing.T) {
	good := []byte(im.ID(0x123456789abcdef).String())
	for place := range good {
		for b := range 256 {
			text := slices.Clone(good)
			text[place] = byte(b)
			id, ok := im.ParseID(string(text))
			want := strings.IndexByte("0123456789abcdefghijklmnopqrstuv", byte(b)) >= 0 && (place > 0 || b <= 'f')
			if ok != want || ok && id.String() != string(text) {
				t.Fatalf("%q reads as %s, %t, want %t", text, id, ok, want)
			}
		}
	}
}

func TestIDsRise(t *testing.T) {
	var g im.IDs
	at := epoch
	last := im.ID(0)
	for _, step := range []time.Duration{
		0, time.Millisecond, 0, 0, -time.Hour, 0, 2 * time.Hour, -24 * 365 * time.Hour, 0,
		-100 * 365 * 24 * time.Hour, time.Nanosecond,
	} {
		at = at.Add(step)
		for range 50 {
			id := g.Next(at)
			if id <= last || id.String() <= last.String() {
				t.Fatalf("after a step of %s: %s comes after %s", step, id, last)
			}
			last = id
		}
	}
}

func TestIDsContainTheirTime(t *testing.T) {
	var g im.IDs
	early, late := g.Next(epoch), g.Next(epoch.Add(time.Millisecond))
	if got := int64(early >> 21); got != epoch.UnixMilli() {
		t.Errorf("the upper bits are %d, want %d", got, epoch.UnixMilli())
	}
	if got := int64(late >> 21); got != epoch.UnixMilli()+1 {
		t.Errorf("the upper bits are %d, want %d", got, epoch.UnixMilli()+1)
	}
	var other im.IDs
	same := 0
	for range 20 {
		other = im.IDs{}
		if other.Next(epoch) == early {
			same++
		}
	}
	if same > 1 {
		t.Errorf("%d of 20 generators begin with the same id: the lower bits are not random", same)
	}
}

// An id does not reveal others of the same millisecond: they differ by at least 16 random bits.
func TestIDsOfAMillisecond(t *testing.T) {
	const n = 4096
	var g im.IDs
	seen := make(map[im.ID]bool, n)
	var steps []im.ID
	last := g.Next(epoch)
	for range n {
		id := g.Next(epoch)
		if id <= last || id-last > 1<<22 {
			t.Fatalf("%d comes after %d", id, last)
		}
		seen[id-last], steps, last = true, append(steps, id-last), id
	}
	// Of 4,096 draws out of 65,536 about 3,969 differ.
	if len(seen) < 3800 {
		t.Errorf("%d steps are of %d lengths", n, len(seen))
	}
	slices.Sort(steps)
	if middle := steps[n/2]; middle < 1<<14 {
		t.Errorf("half of the steps are up to %d", middle)
	}
	// The steps do not fill up a millisecond quickly: ids that are made at a usual rate do not run
	// ahead of the clock.
	if behind := last>>21 - im.ID(epoch.UnixMilli()); behind > n/32 {
		t.Errorf("after %d ids they are %d ms ahead", n, behind)
	}
}

// The id of a conversation that may admit any user who knows it has 64 random bits: each is set
// half of the time, independently of the others and of the clock.
func TestRandomIDs(t *testing.T) {
	const n = 4096
	var set [64]int
	var both [64]int // set together with the bit below
	seen := map[im.ID]bool{}
	for range n {
		id := im.RandomID()
		if back, ok := im.ParseID(id.String()); !ok || back != id || seen[id] {
			t.Fatalf("%s reads as %s, %t; seen before: %t", id, back, ok, seen[id])
		}
		seen[id] = true
		for bit := range 64 {
			here, below := uint64(id)>>bit&1, uint64(id)>>((bit+63)%64)&1
			set[bit] += int(here)
			both[bit] += int(here & below)
		}
	}
	for bit := range 64 {
		// Six standard deviations.
		if d := set[bit] - n/2; max(d, -d) > 192 {
			t.Errorf("bit %d is set in %d of %d", bit, set[bit], n)
		}
		if d := both[bit] - n/4; max(d, -d) > 166 {
			t.Errorf("bit %d is set with the one below in %d of %d", bit, both[bit], n)
		}
	}
}

// Conversations that may admit any user who knows their id have random ids; all others have
// rising ids.
func TestWhichIDsAreRandom(t *testing.T) {
	w := newWorld(t)
	timed := func(id im.ID) bool { // the step between two ids may lead into the next millisecond
		ahead := int64(id)>>21 - w.clock().UnixMilli()
		return 0 <= ahead && ahead < 3
	}
	seen := map[string][2]int{} // by kind: the number of ids, and of those that reveal the time
	count := func(kind string, id im.ID) {
		n := seen[kind]
		n[0]++
		if timed(id) {
			n[1]++
		}
		seen[kind] = n
	}
	for range 20 {
		w.pass(time.Minute)
		group := w.group(im.HistoryAll, "alice", "bob")
		count("group", group)
		room, err := w.CreateGroup(w.ctx, as("alice"), im.GroupDraft{Kind: im.Room, Name: "a room"})
		w.must(err)
		count("room", room.ID)
		space, err := w.CreateSpace(w.ctx, as("alice"), im.SpaceDraft{Name: "a space"})
		w.must(err)
		count("space", space.ID)
		channel, err := w.CreateChannel(w.ctx, as("alice"), space.ID, im.ChannelDraft{Name: "a channel"})
		w.must(err)
		count("channel", channel.ID)
		m := w.say("alice", byID(group), "a root")
		count("message", m.ID)
		thread, err := w.CreateThread(w.ctx, as("alice"), m.ID, im.ThreadDraft{Name: "a thread"})
		w.must(err)
		count("thread", thread.ID)
	}
	w.equal("random ids and others", seen, map[string][2]int{
		"group": {20, 0}, "room": {20, 0}, "space": {20, 0}, "channel": {20, 20}, "message": {20, 20}, "thread": {20, 20},
	})
}

func TestIDsConcurrently(t *testing.T) {
	const makers, each = 16, 2000
	var g im.IDs
	made := make([][]im.ID, makers)
	var wg sync.WaitGroup
	for i := range makers {
		wg.Go(func() {
			for range each {
				made[i] = append(made[i], g.Next(epoch))
			}
		})
	}
	wg.Wait()
	seen := make(map[im.ID]bool, makers*each)
	for i, ids := range made {
		if !slices.IsSorted(ids) {
			t.Errorf("the ids that maker %d got do not rise", i)
		}
		for _, id := range ids {
			if seen[id] {
				t.Fatalf("%s was given twice", id)
			}
			seen[id] = true
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "0000000000000", "0000000000001", "7vvvvvvvvvvvv", "8000000000000", "8000000000001", "fvvvvvvvvvvvv", "g000000000000", "000000000000V"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := im.ParseID(s)
		if ok && (id == 0 || id.String() != s) {
			t.Errorf("%q reads as %d, which is %q", s, int64(id), id)
		}
	})
}
