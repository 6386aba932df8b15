package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// stillClock is a clock that only the test moves.
type stillClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *stillClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stillClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// refusals counts refused requests by limit.
type refusals struct {
	mu sync.Mutex
	by map[string]int
}

func (r *refusals) add(by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[by]++
}

func (r *refusals) of(by string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[by]
}

// limitedWorld returns a world with a rate limit, and the clock of that limit, which only the
// test moves.
func limitedWorld(t testing.TB, rate float64, with ...option) (*world, *stillClock, *refusals) {
	clock, counted := &stillClock{at: time.Now()}, &refusals{by: map[string]int{}}
	return newWorld(t, append(with, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Rate, o.Now, o.Limited = rate, clock.now, counted.add
	})...), clock, counted
}

// spend makes requests of cost one until one is refused, and returns the number of accepted ones.
func (w *world) spend(user string) (n int) {
	for ; n < 10_000; n++ {
		a := w.do(user, http.MethodGet, "/v1/blocks", "")
		if a.status == http.StatusTooManyRequests {
			if a.code(w.t) != "rate_limited" || a.header.Get("Retry-After") == "" {
				w.t.Errorf("refused with %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
			}
			return n
		}
		if a.status != http.StatusOK {
			w.t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	w.t.Fatal("nothing is refused")
	return n
}

func TestRateOfAUser(t *testing.T) {
	w, clock, counted := limitedWorld(t, 5)
	if n := w.spend("alice"); n != 10 {
		t.Errorf("%d requests at once, want twice the rate", n)
	}
	if n := w.spend("bob"); n != 10 {
		t.Errorf("%d requests of another user", n)
	}
	clock.move(time.Second)
	if n := w.spend("alice"); n != 5 {
		t.Errorf("%d requests after a second, want the rate", n)
	}
	clock.move(time.Hour)
	if n := w.spend("alice"); n != 10 {
		t.Errorf("%d requests after long, want twice the rate", n)
	}
	if n := counted.of("user"); n != 4 {
		t.Errorf("%d refusals were counted, want 4", n)
	}
	// A refused request costs nothing, and even an unknown path counts.
	if a := w.do("alice", http.MethodGet, "/v1/nothing", ""); a.status != http.StatusTooManyRequests {
		t.Errorf("an unknown path: %d", a.status)
	}
	if a := w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
		t.Errorf("a send: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	admin := mint(t, auth.Grant{User: "alice", Admin: true}, time.Minute)
	for range 30 {
		if a := w.do("", http.MethodGet, "/v1/blocks", "", "Authorization", "Bearer "+admin); a.status != http.StatusOK {
			t.Fatalf("an admin: %d %s", a.status, a.body)
		}
	}
	if a := w.do("", http.MethodGet, "/healthz", ""); a.status != http.StatusOK {
		t.Errorf("health: %d", a.status)
	}
}

func TestNoRate(t *testing.T) {
	w, _, _ := limitedWorld(t, 0)
	for range 300 {
		w.must(http.StatusOK, "alice", http.MethodGet, "/v1/blocks", "")
	}
}

// TestRateCosts checks what is left in a full bucket of 120 after a request that costs more
// than one.
func TestRateCosts(t *testing.T) {
	list := func(member string, n int) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf("u%d", i)
		}
		b, _ := json.Marshal(map[string]any{member: items})
		return strings.TrimPrefix(string(b), "{")
	}
	for name, c := range map[string]struct {
		method, path, body string
		cost               int
	}{
		"blocks":               {"GET", "/v1/blocks", "", 1},
		"a search":             {"GET", "/v1/messages/search?q=x", "", 5},
		"a page of events":     {"GET", "/v1/events", "", 5},
		"revoke one":           {"POST", "/v1/messages/revoke", "{" + list("ids", 1), 1},
		"revoke a hundred":     {"POST", "/v1/messages/revoke", "{" + list("ids", 100), 100},
		"receipts":             {"POST", "/v1/conversations/@bob/receipts", `{"kind":"read",` + list("message_ids", 200), 20},
		"a group of few":       {"POST", "/v1/conversations", `{"kind":"group","name":"x",` + list("members", 3), 2},
		"a group of many":      {"POST", "/v1/conversations", `{"kind":"group","name":"x",` + list("members", 1999), 100},
		"a send as a user":     {"POST", "/v1/admin/messages", `{"as":"alice","message":{"type":"text","body":{"text":"x"}},` + list("to", 30), 30},
		"a list within a list": {"POST", "/v1/messages/revoke", "[{" + list("ids", 100) + "]", 1},
		"an object for a list": {"POST", "/v1/messages/revoke", `{"ids":{"a":[1,2,3,4,5,6]}}`, 1},
		"no body":              {"POST", "/v1/messages/revoke", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, _ := limitedWorld(t, 60)
			a := w.do("alice", c.method, c.path, c.body, "Accept", "application/json")
			if a.status == http.StatusTooManyRequests || a.status >= 500 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if n := w.spend("alice"); n != 120-c.cost {
				t.Errorf("it took %d, want %d: %d %s", 120-n, c.cost, a.status, a.body)
			}
		})
	}
}

// TestRateOfABatch checks that a batch changes nothing if the bucket is too low, and that
// one larger than the bucket empties it.
func TestRateOfABatch(t *testing.T) {
	w, clock, _ := limitedWorld(t, 10)
	m := w.say("alice", "@bob", "x")["id"].(string)
	ids := `"` + m + `"` + strings.Repeat(`,"x"`, 49)
	body := `{"ids":[` + ids + `]}`
	if a := w.do("alice", http.MethodPost, "/v1/messages/revoke", body); a.status != http.StatusTooManyRequests {
		t.Errorf("from a bucket that is not full: %d %s", a.status, a.body)
	}
	if got := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/messages/"+m, ""); got["state"] != "active" {
		t.Errorf("it was carried out: %v", got["state"])
	}
	clock.move(time.Minute)
	if a := w.do("alice", http.MethodPost, "/v1/messages/revoke", strings.Replace(body, `"x"`, `"y"`, 1)); a.status == http.StatusTooManyRequests {
		t.Errorf("from a full one: %d %s", a.status, a.body)
	}
	if n := w.spend("alice"); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestRateOfStreams(t *testing.T) {
	w, _, _ := limitedWorld(t, 10)
	ticket := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	w.listen("", url.Values{"ticket": {ticket}}).expect("ready")
	w.listen("alice", nil).expect("ready")
	w.spend("alice")
	byTicket := w.do("", http.MethodGet, "/v1/events?ticket="+url.QueryEscape(ticket), "")
	if byTicket.status != http.StatusOK || !strings.HasPrefix(string(byTicket.body), "retry:") {
		t.Errorf("by ticket: %d %q", byTicket.status, byTicket.body)
	}
	if a := w.do("alice", http.MethodGet, "/v1/events", ""); a.status != http.StatusTooManyRequests || a.code(t) != "rate_limited" {
		t.Errorf("by token: %d %q", a.status, a.body)
	}
	if a := w.do("bob", http.MethodPost, "/v1/events/tickets", ""); a.status != http.StatusCreated {
		t.Errorf("somebody else: %d %q", a.status, a.body)
	}
}

// failing makes requests with a bad token until the rate limit refuses one, and returns the number
// before that.
func (w *world) failing(forwarded string) (n int) {
	for ; n < 1000; n++ {
		a := w.do("", http.MethodGet, "/v1/blocks", "", "Authorization", "Bearer x", "X-Forwarded-For", forwarded)
		if a.status == http.StatusTooManyRequests && a.code(w.t) == "rate_limited" {
			return n
		}
		if a.status != http.StatusUnauthorized {
			w.t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	w.t.Fatal("nothing is refused")
	return n
}

func TestRateOfFailedAuthentication(t *testing.T) {
	w, clock, counted := limitedWorld(t, 3)
	if n := w.failing("192.0.2.1"); n != 6 {
		t.Errorf("%d requests, want twice the rate", n)
	}
	if n := w.failing("192.0.2.2"); n != 0 {
		t.Errorf("%d requests from the address in X-Forwarded-For", n)
	}
	w.must(http.StatusOK, "alice", http.MethodGet, "/v1/blocks", "") // from the same address
	clock.move(time.Second)
	if n := w.failing(""); n != 3 {
		t.Errorf("%d requests after a second", n)
	}
	if n := counted.of("address"); n != 3 {
		t.Errorf("%d refusals were counted", n)
	}
}

// TestRateBehindProxies checks that the X-Forwarded-For of a trusted proxy is used, and no other.
func TestRateBehindProxies(t *testing.T) {
	w, clock, _ := limitedWorld(t, 3, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	for _, c := range []struct {
		name, first, second string
		same                bool
	}{
		{"two clients", "192.0.2.1", "192.0.2.2", false},
		{"one client that invents others", "198.51.100.7, 192.0.2.3", "198.51.100.8, 192.0.2.3", true},
		{"two proxies", "192.0.2.4, 10.0.0.1", "192.0.2.5, 10.0.0.1", false},
		{"two proxies and one client", "192.0.2.6, 10.0.0.1", "192.0.2.6, 10.0.0.2", true},
		{"one that is not an address", "x, 10.0.0.3", "y, 10.0.0.3", true},
		{"with a port", "192.0.2.7:80", "192.0.2.7:81", true},
		{"one network of IPv6", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"two networks of IPv6", "2001:db8:0:2::1", "2001:db8:0:3::1", false},
		{"IPv4 as IPv6", "192.0.2.8", "::ffff:192.0.2.8", true},
	} {
		clock.move(time.Hour)
		if n := w.failing(c.first); n != 6 {
			t.Errorf("%s: %d requests of the first", c.name, n)
		}
		if n := w.failing(c.second); (n == 0) != c.same {
			t.Errorf("%s: %d requests of the second", c.name, n)
		}
	}
}
