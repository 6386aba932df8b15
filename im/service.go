package im

import (
	"context"
	"errors"
	"time"
)

// Policy is the part of the configuration that the rules depend on.
type Policy struct {
	// MaxMessageBytes bounds body and ext of a message together, in bytes of canonical
	// JSON.
	MaxMessageBytes int
	// MaxAttachmentBytes bounds the size of an attachment, and AttachmentQuota all
	// attachments of a user together; 0 sets no such quota.
	MaxAttachmentBytes int64
	AttachmentQuota    int64
	// MaxMembers bounds the members of a group, MaxRoomMembers those of a room and
	// MaxSpaceMembers those of a space.
	MaxMembers      int
	MaxRoomMembers  int
	MaxSpaceMembers int
	// MaxChannels bounds the channels of a space, MaxRoles its roles, and MaxChannelRoles
	// the roles with an override in one channel.
	MaxChannels     int
	MaxRoles        int
	MaxChannelRoles int
	// Retention is the time for which messages of a conversation without a setting of its own are
	// kept, and RetentionMax the longest time for which any are; 0 means forever.
	Retention    time.Duration
	RetentionMax time.Duration
	// LogRetention is the time for which events stay in the log.
	LogRetention time.Duration
	// ClientIDRetention is the time for which the keys of trimmed and purged messages are
	// remembered, so that neither a retry nor a repeated import stores such a message again.
	ClientIDRetention time.Duration
	// ClockGuard is the time for which nothing is trimmed or forgotten after the clock has jumped
	// ahead by more than a day; 0 trusts the clock at once.
	ClockGuard time.Duration
	// CutRetention is the time for which cut-offs of tokens are kept: the longest lifetime of a
	// token. 0 keeps them forever.
	CutRetention time.Duration
	// RevokeWindow is the time for which a sender may revoke a message, and RevokeOthersWindow that
	// for which a user with the permission may revoke messages of others; 0 sets no limit.
	RevokeWindow       time.Duration
	RevokeOthersWindow time.Duration
	// RevokeWindowByKind is RevokeWindow for one kind of conversation.
	RevokeWindowByKind map[Kind]time.Duration
	// BurnAny lets a recipient burn a direct message that was not sent for
	// burning.
	BurnAny bool
	// CheckWebhookURL returns the reason why the server would not call a URL, nil if it would. The
	// error does not quote the URL. A nil function allows any.
	CheckWebhookURL func(url string) error
	// MaxReceiptMembers bounds the members of a group in which messages may be
	// sent with receipt.
	MaxReceiptMembers int
	// ReadsPerUser is the maximum number of concurrent reads of one user; 0 means half of those
	// that the store runs. ReadWait is the time that a read of a request waits for its turn before
	// it is refused; 0 means 5 s.
	ReadsPerUser int
	ReadWait     time.Duration
}

// DefaultPolicy returns the policy of a server without configuration: messages of up to 5 KiB that
// are kept forever, attachments of up to 10 MiB and 10 GiB per user, groups of up to 2,000 members,
// rooms of 100,000 and spaces of 500,000, spaces with up to 100 channels and 100 roles, a log of
// 7 days, 2 minutes to revoke, and receipts in groups of up to 200 members.
func DefaultPolicy() Policy {
	return Policy{
		MaxMessageBytes:    5120,
		MaxAttachmentBytes: 10 << 20, AttachmentQuota: 10 << 30,
		MaxMembers: 2000, MaxRoomMembers: 100_000, MaxSpaceMembers: 500_000,
		MaxChannels: 100, MaxRoles: 100, MaxChannelRoles: 20,
		LogRetention: 7 * day, ClientIDRetention: 7 * day, ClockGuard: time.Hour,
		RevokeWindow: 2 * time.Minute, MaxReceiptMembers: 200,
	}
}

// MinMessageBytes is the lowest MaxMessageBytes, because clients rely on 3 KB.
const MinMessageBytes = 3000

// Service is the use cases. Each loads state, checks the rules, changes the state and appends
// events, in one transaction, or in several if it is long. It is safe for concurrent use. Refusals
// are [Error] values; other errors are those of the [Store], or the context's cause.
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

	attachments attachments
	// presend is nil without a pre-send hook.
	presend *presend
}

// Admit is called at the start of a user's write request, before any other work for it. While too
// many writes wait, it waits for a moment. The error has the code "overloaded", or is the context's
// cause.
func (s *Service) Admit(ctx context.Context, user UserID) error {
	return s.store.Admit(ctx, Caller{User: user})
}

// NewService returns the use cases on a store. now is the clock, [time.Now] if nil.
func NewService(store Store, policy Policy, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	s := &Service{store: store, policy: policy, now: now, step: stepTime, listed: listedAtOnce}
	s.inLine.longest = longestInLine
	s.turns = newTurns(store.Readers(), policy.ReadsPerUser, policy.ReadWait)
	s.guard = newClockGuard(policy.ClockGuard, now(), store.Instance().ClockSeen)
	s.ids.last = store.Instance().LastID
	return s
}

// MaxMessageBytes returns the policy's limit on body and ext of a message together, in bytes.
func (s *Service) MaxMessageBytes() int { return s.policy.MaxMessageBytes }

// Ready returns the reason why the store cannot accept writes, nil if it can.
func (s *Service) Ready(ctx context.Context) error { return s.store.Ready(ctx) }

// Unshredded returns the number of keys of erased content that are not shredded yet, and how long
// the oldest of them has waited.
func (s *Service) Unshredded() (keys int, waited time.Duration) {
	keys, since := s.store.Unshredded()
	if keys > 0 {
		waited = max(s.now().Sub(since), 0)
	}
	return keys, waited
}

// SearchState returns the state of the search index.
func (s *Service) SearchState() SearchState { return s.store.SearchState() }

// time returns the current time in its stored form: in UTC, truncated to milliseconds.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// read is Store.View once it is the caller's turn; see [CallerOf]. It must not be nested:
// the inner read could wait for the outer one.
func (s *Service) read(ctx context.Context, fn func(Reader) error) error {
	done, err := s.turns.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.store.View(ctx, func(r Reader) error { return fn(newSnapshotCache(r)) })
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

// maybe turns ErrNotFound into false.
func maybe[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, ErrNotFound) {
		var zero T
		return zero, false, nil
	}
	return v, err == nil, err
}
