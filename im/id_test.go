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
	ids := []im.ID{1, 31, 32, 1<<21 - 1, 1 << 21, 1 << 62, math.MaxInt64 - 1, math.MaxInt64}
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
		"more than 63 bits":      "8000000000000",
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

// Every byte in every place: what is read has one text.
func TestParseIDHasOneText(t *testing.T) {
	good := []byte(im.ID(0x123456789abcdef).String())
	for place := range good {
		for b := range 256 {
			text := slices.Clone(good)
			text[place] = byte(b)
			id, ok := im.ParseID(string(text))
			want := strings.IndexByte("0123456789abcdefghijklmnopqrstuv", byte(b)) >= 0 && (place > 0 || b <= '7')
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

func TestIDsTellTheTime(t *testing.T) {
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
	for _, s := range []string{"", "0000000000000", "0000000000001", "7vvvvvvvvvvvv", "8000000000000", "000000000000V"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := im.ParseID(s)
		if ok && (id <= 0 || id.String() != s) {
			t.Errorf("%q reads as %d, which is %q", s, int64(id), id)
		}
	})
}
