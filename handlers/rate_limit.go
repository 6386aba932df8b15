package handlers

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/time/rate"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// burstTime is the size of a bucket, in seconds of its rate.
const burstTime = 2

// mostBuckets bounds the fresh buckets of one kind, and so the stale ones. Beyond it the buckets
// that have been idle for longest are forgotten, which makes them full again.
const mostBuckets = 1 << 17

// buckets are token buckets by key. A bucket that has not been used for the time that it takes to
// fill is full, so it can be forgotten. Only callers of the last two such periods have a bucket.
type buckets[K comparable] struct {
	limit  rate.Limit
	burst  int
	toFill time.Duration // the time in which an empty bucket fills
	now    func() time.Time

	mu sync.Mutex
	// fresh are the buckets that were used since turned, stale the others.
	fresh, stale map[K]*rate.Limiter
	turned       time.Time
}

// newBuckets returns buckets that fill at a rate per second. For 0 it returns nil, which
// sets no limit.
func newBuckets[K comparable](perSecond float64, now func() time.Time) *buckets[K] {
	if perSecond <= 0 {
		return nil
	}
	burst := max(1, int(burstTime*perSecond))
	return &buckets[K]{
		limit: rate.Limit(perSecond), burst: burst, toFill: time.Duration(float64(burst) / perSecond * float64(time.Second)),
		now: now, fresh: make(map[K]*rate.Limiter), turned: now(),
	}
}

// take takes tokens from a bucket, at most as many as it can hold. If there are too few, it
// takes none and returns how long it takes until there are enough.
func (b *buckets[K]) take(key K, cost int) (wait time.Duration, ok bool) {
	if b == nil || cost <= 0 {
		return 0, true
	}
	now := b.now()
	r := b.of(key, now).ReserveN(now, min(cost, b.burst))
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait, wait <= 0
}

func (b *buckets[K]) of(key K, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := now.Sub(b.turned); age < 0 || age > b.toFill || len(b.fresh) >= mostBuckets {
		if age > 2*b.toFill {
			b.fresh = nil // all were used before turned+toFill: any later use would have turned the maps
		}
		b.fresh, b.stale, b.turned = make(map[K]*rate.Limiter), b.fresh, now
	}
	bucket := b.fresh[key]
	if bucket == nil {
		if bucket = b.stale[key]; bucket == nil {
			bucket = rate.NewLimiter(b.limit, b.burst)
		}
		b.fresh[key] = bucket
		delete(b.stale, key)
	}
	return bucket
}

// limits are the rate limits of a server.
type limits struct {
	users     *buckets[im.UserID]
	commands  *buckets[im.UserID]
	addresses *buckets[netip.Addr]
	proxies   []netip.Prefix
	observe   func(by string)
}

func tooFast(wait time.Duration) error {
	return &im.Error{
		Kind: im.TooMany, Code: "rate_limited", RetryAfter: wait,
		Message: "too many requests: wait as long as Retry-After says",
	}
}

// spend takes the cost of a request from the bucket of its user. Admins have no limit.
func (l *limits) spend(p auth.Principal, cost int) error {
	return l.take(l.users, "user", p, cost)
}

// spendCommand takes a token from the bucket of a user's commands. Admins have no limit.
func (l *limits) spendCommand(p auth.Principal) error {
	return l.take(l.commands, "command", p, 1)
}

func (l *limits) take(from *buckets[im.UserID], by string, p auth.Principal, cost int) error {
	if p.Admin {
		return nil
	}
	wait, ok := from.take(p.User, cost)
	if ok {
		return nil
	}
	l.observe(by)
	return tooFast(wait)
}

// spendMore takes the cost of a list in a scanned body beyond the base cost, which was taken before
// the body was read. Both together are limited to what a bucket can hold.
func (l *limits) spendMore(p auth.Principal, c cost, body jsonscan.Value) error {
	if l.users == nil || c.list == "" {
		return nil
	}
	most := l.users.burst
	return l.spend(p, min(c.ofList(body), most)-min(c.base, most))
}

// failed takes a token from the bucket of an address after a failed authentication, and returns the
// error to answer with. It takes no token if the server could not fetch its keys, or if err is not
// an [auth.Error].
func (l *limits) failed(r *http.Request, err error) error {
	var denied *auth.Error
	if !errors.As(err, &denied) || denied.Code == auth.CodeKeysUnavailable {
		return err
	}
	wait, ok := l.addresses.take(l.address(r), 1)
	if ok {
		return err
	}
	l.observe("address")
	return tooFast(wait)
}

// address returns the address of the client: the peer of the connection, or the address that
// trusted proxies report. For IPv6 it is the /64 network, which usually belongs to one client.
func (l *limits) address(r *http.Request) netip.Addr {
	from := parseAddress(r.RemoteAddr)
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	// Each proxy appends the address of its peer, so everything to the left of the last
	// untrusted address may be forged.
	for hops := strings.Join(r.Header.Values("X-Forwarded-For"), ","); hops != "" && trusted(from); {
		cut := strings.LastIndexByte(hops, ',')
		before := parseAddress(strings.TrimSpace(hops[cut+1:]))
		if !before.IsValid() {
			break
		}
		from, hops = before, hops[:max(cut, 0)]
	}
	if from.Is6() {
		prefix, _ := from.WithZone("").Prefix(64) // 64 is always valid
		return prefix.Addr()
	}
	return from
}

// parseAddress reads an address with or without a port. It returns the zero address if the
// text is not an address.
func parseAddress(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, _ := netip.ParseAddr(strings.Trim(s, "[]")) // the zero address if it fails
	return a.Unmap()
}

// cost is the number of tokens that an operation takes from the bucket of its user.
type cost struct {
	base int
	// list is the member of the body whose items count: one token for every per items, if
	// that is more than base. It is "" if there is no such list.
	list string
	per  int
}

// The extensions of an operation that set its cost.
const (
	costExtension = "x-rate-cost"
	listExtension = "x-rate-cost-list"
)

func readCost(operation *openapi3.Operation) (cost, error) {
	c := cost{base: 1}
	if v, there := operation.Extensions[costExtension]; there {
		n, ok := wholeNumber(v)
		if !ok {
			return c, fmt.Errorf("%s: %s is not a cost", operation.OperationID, costExtension)
		}
		c.base = n
	}
	v, there := operation.Extensions[listExtension]
	if !there {
		return c, nil
	}
	list, _ := v.(map[string]any)
	c.list, _ = list["member"].(string)
	per, ok := wholeNumber(list["items"])
	if c.per = per; c.list == "" || !ok {
		return c, fmt.Errorf("%s: %s names no list", operation.OperationID, listExtension)
	}
	return c, nil
}

// ofList returns the cost of the list in a scanned body, which need not fit the OpenAPI document.
func (c cost) ofList(body jsonscan.Value) int {
	n := 0
	for range body.Member(c.list).Items() {
		n++
	}
	return (n + c.per - 1) / c.per
}
