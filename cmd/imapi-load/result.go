package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what a run measured. Its JSON is for programs and only ever gains members.
type result struct {
	Scenario      string    `json:"scenario"`
	Server        string    `json:"server"`
	Run           string    `json:"run"`
	Began         time.Time `json:"began"`
	Seconds       float64   `json:"seconds"`
	Interrupted   bool      `json:"interrupted"`
	Mix           string    `json:"mix"`
	Rate          float64   `json:"rate"` // 0: a closed loop
	Connections   int       `json:"connections"`
	Users         int       `json:"users"`
	Conversations int       `json:"conversations"`
	Kind          string    `json:"kind"`
	Members       int       `json:"members"`
	Streams       int       `json:"streams"`
	Idle          int       `json:"idle"`
	Fill          int       `json:"fill"`

	// Offered is the number of operations that were due, Started the number of those that began.
	Offered int64 `json:"offered"`
	Started int64 `json:"started"`
	// Behind is the longest time that an operation waited for a connection, in milliseconds.
	Behind     float64              `json:"behind"`
	Operations map[string]*operated `json:"operations"`
	Events     *delivered           `json:"events,omitempty"`
	Replayed   int64                `json:"replayed,omitempty"`
	names      []string             // of the operations, sorted
}

// operated is the result of one kind of operation. Latencies are in milliseconds.
type operated struct {
	Done      int64            `json:"done"`
	PerSecond float64          `json:"per_second"`
	Shed      int64            `json:"shed"` // 429 and 503 with Retry-After
	Failed    int64            `json:"failed"`
	Latency   *latency         `json:"latency,omitempty"`
	ShedAfter *latency         `json:"shed_after,omitempty"`
	Refusals  map[string]int64 `json:"refusals,omitempty"`
}

// delivered is what the streams received.
type delivered struct {
	Messages    int64    `json:"messages"`
	PerSecond   float64  `json:"per_second"`
	Lost        int64    `json:"lost"`
	Twice       int64    `json:"twice"`
	OutOfOrder  int64    `json:"out_of_order"`
	Disconnects int64    `json:"disconnects"`
	Reconnects  int64    `json:"reconnects"`
	Resets      int64    `json:"resets"`
	Latency     *latency `json:"latency,omitempty"`
}

// result returns what was measured within a duration.
func (r *run) result(took time.Duration, interrupted bool) *result {
	c := r.config
	seconds := max(took.Seconds(), 1e-9)
	perSecond := func(n int64) float64 { return float64(int64(float64(n)/seconds*10+0.5)) / 10 }
	res := &result{
		Scenario: c.name, Server: c.server.Redacted(), Run: r.world.run, Began: r.began().UTC(), Seconds: float64(took.Milliseconds()) / 1000,
		Interrupted: interrupted, Mix: c.mix.String(), Rate: c.rate, Connections: c.connections, Users: len(r.world.users),
		Conversations: len(r.world.conversations), Kind: c.kind, Members: c.members, Streams: c.streams, Idle: c.idle, Fill: c.fill,
		Offered: r.schedule.offered(took), Started: r.schedule.started.Load(), Behind: milliseconds(time.Duration(r.schedule.behind.Load())),
		Operations: make(map[string]*operated), Replayed: r.replayed.Load(),
	}
	for name, n := range r.counts {
		n.mu.Lock()
		refusals := maps.Clone(n.errors)
		n.mu.Unlock()
		res.Operations[name] = &operated{
			Done: n.done.Load(), PerSecond: perSecond(n.done.Load()), Shed: n.shed.Load(), Failed: n.failed.Load(),
			Latency: n.latency.latency(), ShedAfter: n.shedLatency.latency(), Refusals: refusals,
		}
	}
	res.names = slices.Sorted(maps.Keys(res.Operations))
	if c.streams+c.idle > 0 {
		d := &r.deliveries
		res.Events = &delivered{
			Messages: d.messages.Load(), PerSecond: perSecond(d.messages.Load()), Lost: r.lost(), Twice: d.twice.Load(), OutOfOrder: d.outOfOrder.Load(),
			Disconnects: d.disconnects.Load(), Reconnects: d.reconnects.Load(), Resets: d.resets.Load(), Latency: d.latency.latency(),
		}
	}
	return res
}

// faults returns what went wrong, one sentence each.
func (r *result) faults() (list []string) {
	for _, name := range r.names {
		if n := r.Operations[name].Failed; n > 0 {
			list = append(list, fmt.Sprintf("%d operations of the kind %s failed", n, name))
		}
	}
	if e := r.Events; e != nil {
		for _, f := range []struct {
			n    int64
			what string
		}{
			{e.Lost, "deliveries were lost"},
			{e.Twice, "deliveries came twice"},
			{e.OutOfOrder, "deliveries came out of order"},
			{e.Resets, "streams were reset"},
			{e.Disconnects, "streams were disconnected"},
		} {
			if f.n > 0 {
				list = append(list, fmt.Sprintf("%d %s", f.n, f.what))
			}
		}
	}
	return list
}

// writeJSON writes the result as JSON.
func (r *result) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeText writes the result for people.
func (r *result) writeText(w io.Writer) error {
	var b strings.Builder
	loop := fmt.Sprintf("%g/s offered", r.Rate)
	if r.Rate == 0 {
		loop = "a closed loop"
	}
	fmt.Fprintf(&b, "%s for %.1f s: %d connections, %s, %d users, %d conversations (%s, %d members each)\n\n",
		r.Scenario, r.Seconds, r.Connections, loop, r.Users, r.Conversations, r.Kind, r.Members)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int64, rate float64, shed, failed string, l *latency) {
		if l == nil {
			l = &latency{}
		}
		_, _ = fmt.Fprintf(t, "%s\t%d\t%.1f\t%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name, n, rate, shed, failed, l.P50, l.P90, l.P99, l.Max)
	}
	_, _ = fmt.Fprintln(t, "\tcount\t/s\tshed\tfailed\tp50 ms\tp90\tp99\tmax\t")
	for _, name := range r.names {
		o := r.Operations[name]
		row(name, o.Done, o.PerSecond, fmt.Sprint(o.Shed), fmt.Sprint(o.Failed), o.Latency)
	}
	if e := r.Events; e != nil && r.Streams > 0 {
		row("delivered", e.Messages, e.PerSecond, "", "", e.Latency)
	}
	_ = t.Flush() // to a strings.Builder
	if r.Replayed > 0 {
		fmt.Fprintf(&b, "\n%d events replayed, %.0f/s\n", r.Replayed, float64(r.Replayed)/r.Seconds)
	}
	if e := r.Events; e != nil {
		fmt.Fprintf(&b, "\n%d streams, %d of them idle: %d deliveries lost, %d twice, %d out of order; %d disconnected, %d reset\n",
			r.Streams+r.Idle, r.Idle, e.Lost, e.Twice, e.OutOfOrder, e.Disconnects, e.Resets)
	}
	if r.Offered > r.Started {
		fmt.Fprintf(&b, "\nOf %d operations that were due, %d never began: all connections were busy.\n", r.Offered, r.Offered-r.Started)
	}
	for _, name := range r.names {
		for _, what := range slices.Sorted(maps.Keys(r.Operations[name].Refusals)) {
			fmt.Fprintf(&b, "%s, %d times: %s\n", name, r.Operations[name].Refusals[what], what)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
