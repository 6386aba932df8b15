package im

import (
	"context"
	"errors"
	"time"
)

// Policy is what the operator decides.
type Policy struct {
	// MaxMessageBytes bounds body and ext of a message together, as canonical
	// JSON.
	MaxMessageBytes int
	// MaxMembers bounds the members of a group, MaxRoomMembers those of a room and
	// MaxSpaceMembers those of a space.
	MaxMembers      int
	MaxRoomMembers  int
	MaxSpaceMembers int
	// MaxChannels bounds the channels of a space, MaxRoles its roles, and
	// MaxChannelRoles the roles that say something else in one channel.
	MaxChannels     int
	MaxRoles        int
	MaxChannelRoles int
	// Retention is the longest that a message is kept where its conversation
	// does not say so itself, and RetentionMax the longest that one may say; 0
	// keeps messages for ever.
	Retention    time.Duration
	RetentionMax time.Duration
	// LogRetention is how long events stay in the log.
	LogRetention time.Duration
	// ClientIDRetention is how long it is remembered what messages were known by that
	// were removed, so that neither a retry nor a repeated import brings them back.
	ClientIDRetention time.Duration
	// ClockGuard is for how long nothing is removed by the time of the clock after that
	// was seen to jump ahead by more than a day; 0 trusts it at once.
	ClockGuard time.Duration
	// CutRetention is how long a cut-off of tokens is kept: until every token has ended
	// that it could meet. 0 keeps them for ever.
	CutRetention time.Duration
	// RevokeWindow is how long one may revoke what one sent, RevokeOthers how
	// long those with the right may revoke what others sent; 0 sets no limit.
	RevokeWindow       time.Duration
	RevokeOthersWindow time.Duration
	// RevokeWindowByKind is RevokeWindow for one kind of conversation.
	RevokeWindowByKind map[Kind]time.Duration
	// BurnAny lets a recipient burn a direct message that was not sent for
	// burning.
	BurnAny bool
	// MaxReceiptMembers bounds the members of a group in which messages may be
	// sent with receipt.
	MaxReceiptMembers int
	// ReadsPerUser is how many reads of one user are run at once; 0 is half of what
	// the store runs. ReadWait is how long one of a request waits for its turn before
	// it is refused; 0 is 5 s.
	ReadsPerUser int
	ReadWait     time.Duration
}

// DefaultPolicy returns the policy of a server that was told nothing: 4 KiB
// and 2,000 members, which is what the systems that imapi stands in for allow,
// a log of 7 days, 2 minutes to revoke, and receipts in groups of up to 200; rooms
// of 100,000, and spaces of 500,000 with 100 channels and 20 roles a channel.
func DefaultPolicy() Policy {
	return Policy{
		MaxMessageBytes: 4096,
		MaxMembers:      2000, MaxRoomMembers: 100_000, MaxSpaceMembers: 500_000,
		MaxChannels: 100, MaxRoles: 100, MaxChannelRoles: 20,
		LogRetention: 7 * day, ClientIDRetention: 7 * day, ClockGuard: time.Hour,
		RevokeWindow: 2 * time.Minute, MaxReceiptMembers: 200,
	}
}

// MinMessageBytes is the least that MaxMessageBytes may be set to: clients
// rely on 3 KB.
const MinMessageBytes = 3000

// Service is the use cases: each loads, asks the rules, changes and tells, in
// one transaction.
type Service struct {
	store  Store
	policy Policy
	now    func() time.Time
	guard  *clockGuard
	ids    IDs
	step   time.Duration // see pace
	listed int           // see Conversations
	inLine inLine
	turns  *turns
}

// NewService returns the use cases on a store. now is the clock, nil for the
// machine's.
func NewService(store Store, policy Policy, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	s := &Service{store: store, policy: policy, now: now, step: stepTime, listed: listedAtOnce}
	s.turns = newTurns(store.Readers(), policy.ReadsPerUser, policy.ReadWait)
	s.guard = newClockGuard(policy.ClockGuard, now(), store.Instance().ClockSeen)
	s.ids.last = store.Instance().LastID
	return s
}

// MaxMessageBytes returns the bound of body and ext of a message together.
func (s *Service) MaxMessageBytes() int { return s.policy.MaxMessageBytes }

// Ready reports an error while nothing can be stored.
func (s *Service) Ready(ctx context.Context) error { return s.store.Ready(ctx) }

// Unshredded returns how many keys of what was erased are yet to be destroyed, which is
// tried until it is done, and for how long the longest has waited.
func (s *Service) Unshredded() (keys int, waited time.Duration) {
	keys, since := s.store.Unshredded()
	if keys > 0 {
		waited = max(s.now().Sub(since), 0)
	}
	return keys, waited
}

// SearchState tells how the search index is.
func (s *Service) SearchState() SearchState { return s.store.SearchState() }

// time returns now as it is stored: in UTC, to the millisecond.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// read is Store.View when it is the turn of who the context is for; see [CallerOf].
// It must not be called in a read: that would wait for itself.
func (s *Service) read(ctx context.Context, fn func(Reader) error) error {
	done, err := s.turns.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.store.View(ctx, func(r Reader) error { return fn(remember(r)) })
}

// view is read for a use case with one result.
func view[T any](ctx context.Context, s *Service, fn func(Reader) (T, error)) (T, error) {
	var out T
	err := s.read(ctx, func(r Reader) (err error) {
		out, err = fn(r)
		return err
	})
	return out, err
}

// write is Store.Write for a use case with one result.
func write[T any](ctx context.Context, s *Service, fn func(Tx) (T, error)) (T, error) {
	var out T
	err := s.store.Write(ctx, func(tx Tx) (err error) {
		out, err = fn(tx)
		return err
	})
	return out, err
}

// maybe turns "not there" into false.
func maybe[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, ErrNotFound) {
		var zero T
		return zero, false, nil
	}
	return v, err == nil, err
}
