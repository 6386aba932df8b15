package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// shape is what a scenario sets: the users, their conversations and the mix of operations.
type shape struct {
	mix           mix
	kind          string // of the conversations
	conversations int
	members       int // of each conversation
	users         int // 0 for as many as the conversations need
	streams, idle int
	connections   int
	fill          int // messages in each conversation at the beginning
}

// scenario is a named shape.
type scenario struct {
	name, summary string
	shape
}

// scenarios are the shapes that the command knows. Flags can change any part of a scenario.
var scenarios = []scenario{
	{"mixed", "what an application does: mostly sends, with reads, searches and streams", shape{
		mix: mix{
			"send": 60, "history": 12, "list": 6, "unread": 4, "read": 8, "search": 3, "revoke": 3, "upload": 1, "reconnect": 2, "replay": 1,
		},
		kind: "group", conversations: 50, members: 10, users: 100, streams: 100, connections: 32, fill: 100,
	}},
	{"send", "messages to direct conversations whose recipients listen", shape{
		mix: mix{"send": 1}, kind: "direct", conversations: 64, members: 2, streams: 64, connections: 64,
	}},
	{"fan-out", "messages to one room in which all listen", shape{
		mix: mix{"send": 1}, kind: "room", conversations: 1, members: 1000, streams: 1000, connections: 8,
	}},
	{"history", "pages of 50 messages", shape{
		mix: mix{"history": 1}, kind: "group", conversations: 20, members: 5, connections: 16, fill: 500,
	}},
	{"search", "pages of 20 hits", shape{
		mix: mix{"search": 1}, kind: "group", conversations: 20, members: 5, connections: 16, fill: 500,
	}},
	{"replay", "streams that resume as many messages back as --fill says", shape{
		mix: mix{"replay": 1}, kind: "group", conversations: 1, members: 32, connections: 4, fill: 10_000,
	}},
	{"idle", "streams on which nothing arrives", shape{
		mix: mix{}, kind: "group", conversations: 1, members: 2, idle: 1000, connections: 1,
	}},
	{"upload", "attachments, each sent in a message", shape{
		mix: mix{"upload": 1}, kind: "group", conversations: 8, members: 4, connections: 4,
	}},
}

// scenarioOf returns the scenario with a name.
func scenarioOf(name string) (scenario, error) {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		if s.name == name {
			return s, nil
		}
		names[i] = s.name
	}
	return scenario{}, misuse("unknown scenario %q: use one of %s", name, strings.Join(names, ", "))
}

// mix is how often each operation is done, relative to the others.
type mix map[string]int

// Set parses a mix such as send=8,history=2. An operation without a weight has 1.
func (m *mix) Set(text string) error {
	parsed := mix{}
	for part := range strings.SplitSeq(text, ",") {
		name, weight, weighted := strings.Cut(strings.TrimSpace(part), "=")
		if _, known := operations[name]; !known {
			return fmt.Errorf("unknown operation %q: use %s", name, strings.Join(operationNames(), ", "))
		}
		if _, again := parsed[name]; again {
			return fmt.Errorf("%s is given twice", name)
		}
		n := 1
		if weighted {
			var err error
			if n, err = strconv.Atoi(weight); err != nil || n < 0 || n > maxWeight {
				return fmt.Errorf("the weight of %s must be 0 to %d", name, maxWeight)
			}
		}
		parsed[name] = n
	}
	*m = parsed
	return nil
}

const maxWeight = 1000

// String returns the mix as Set parses it.
func (m *mix) String() string {
	var parts []string
	for _, name := range operationNames() {
		if weight := (*m)[name]; weight > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", name, weight))
		}
	}
	return strings.Join(parts, ",")
}

// turns returns the names of the operations, each as often as its weight and spread evenly, so that
// any stretch of operations has about the same mix.
func (m mix) turns() (list []string) {
	total := 0
	for _, weight := range m {
		total += weight
	}
	credit := map[string]int{}
	for range total {
		best := ""
		for _, name := range operationNames() {
			if credit[name] += m[name]; m[name] > 0 && (best == "" || credit[name] > credit[best]) {
				best = name
			}
		}
		credit[best] -= total
		list = append(list, best)
	}
	return list
}

// operationNames returns the names of all operations, sorted.
func operationNames() []string {
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
