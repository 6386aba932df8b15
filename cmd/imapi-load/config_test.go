package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestCommandLines(t *testing.T) {
	t.Setenv(tokenVariable, "")
	for _, test := range []struct{ line, want string }{
		{"", ""},
		{"fan-out --streams 10 --rate 5", ""},
		{"--mix send=3,history", ""},
		{"nonsense", "unknown scenario"},
		{"send more", "unexpected argument"},
		{"--server ftp://host", "--server"},
		{"--server http://", "--server"},
		{"--connections 0", "--connections"},
		{"--rate -1", "--rate"},
		{"--rate NaN", "--rate"},
		{"--duration -1s", "--duration"},
		{"--kind channel", "--kind"},
		{"--kind direct --members 3", "--members"},
		{"--mix juggle", "unknown operation"},
		{"--mix send,send", "twice"},
		{"--mix send=-1", "weight"},
		{"replay --fill 0", "--fill"},
		{"--upload-bytes 0", "--upload-bytes"},
	} {
		_, err := parseConfig(strings.Fields(test.line), io.Discard)
		var wrong *usageError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%q: %v", test.line, err)
		case test.want != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: %v, want a usage error with %q", test.line, err, test.want)
		}
	}
}

// Every scenario is a valid configuration, and each of its streams has a conversation unless
// it is idle.
func TestScenarios(t *testing.T) {
	t.Setenv(tokenVariable, "")
	for _, s := range scenarios {
		c, err := parseConfig([]string{s.name}, io.Discard)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if c.users < c.streams || c.users < c.members {
			t.Errorf("%s: %d users for %d streams and %d members", s.name, c.users, c.streams, c.members)
		}
	}
	var help bytes.Buffer
	if _, err := parseConfig([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "fan-out") {
		t.Errorf("--help: %v, printed %q", err, help.String())
	}
}

func TestTurnsFollowTheWeights(t *testing.T) {
	var m mix
	if err := m.Set("send=6,history=3,list"); err != nil {
		t.Fatal(err)
	}
	turns := m.turns()
	count := map[string]int{}
	for _, name := range turns {
		count[name]++
	}
	if len(turns) != 10 || count["send"] != 6 || count["history"] != 3 || count["list"] != 1 {
		t.Errorf("turns %v", turns)
	}
	if slices.Equal(turns[:3], []string{"send", "send", "send"}) {
		t.Errorf("the operations are not spread: %v", turns)
	}
	if got := m.String(); got != "history=3,list=1,send=6" {
		t.Errorf("the mix is printed as %q", got)
	}
}
