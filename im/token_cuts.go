package im

import (
	"context"
	"time"
)

// CutTokens invalidates every token of a user that was issued until now, and ends the streams that
// were opened with such a token. It refuses an actor who is not an admin, and an invalid user id.
func (s *Service) CutTokens(ctx context.Context, actor Actor, user UserID) (TokenCut, error) {
	if !actor.Admin {
		return TokenCut{}, errNotAdmin()
	}
	if err := checkUsers("user", []UserID{user}); err != nil {
		return TokenCut{}, err
	}
	return write(ctx, s, func(tx Tx) (TokenCut, error) {
		cut := TokenCut{User: user, At: s.time()}
		return cut, tx.CutTokens(cut)
	})
}

// cutPage is the number of cut-offs that one read returns.
const cutPage = 1000

// TokenCuts calls fn with every stored cut-off. It returns the time of the latest cut-off that was
// forgotten, zero if none was. It is no longer known whose tokens a forgotten cut-off was for. Any
// error is from the store.
//
// Each page is a snapshot of its own. The time is read last, so that a cut-off that is
// forgotten between two pages is in one of the results.
func (s *Service) TokenCuts(ctx context.Context, fn func(TokenCut)) (forgotten time.Time, err error) {
	for after := (*TokenCut)(nil); ; {
		page, err := view(ctx, s, func(r Reader) ([]TokenCut, error) { return r.TokenCuts(after, cutPage) })
		if err != nil {
			return time.Time{}, err
		}
		for _, cut := range page {
			fn(cut)
		}
		if len(page) < cutPage {
			return view(ctx, s, Reader.ForgottenCut)
		}
		after = &page[len(page)-1]
	}
}

// ForgetCuts forgets cut-offs older than the policy's CutRetention, after which every token
// that they could cut off has expired. It returns their number and the time of the latest cut-off
// that was ever forgotten. It works in steps with pauses, see [PauseAfter]. While the clock is not
// trusted, or if the policy keeps cut-offs forever, it forgets nothing and returns a zero time.
func (s *Service) ForgetCuts(ctx context.Context) (n int, forgotten time.Time, err error) {
	if s.policy.CutRetention == 0 {
		return 0, time.Time{}, nil
	}
	ctx = asJob(ctx, "token cuts")
	before := s.time().Add(-s.policy.CutRetention)
	if s.holds() {
		return 0, time.Time{}, nil
	}
	n, err = pacedAll(ctx, s, jobRows, func(tx Tx, limit int) (int, error) { return tx.ForgetCuts(before, limit) })
	if err != nil {
		return n, time.Time{}, err
	}
	forgotten, err = view(ctx, s, Reader.ForgottenCut)
	return n, forgotten, err
}
