package auth_test

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

func TestCutOff(t *testing.T) {
	tests := map[string]struct {
		iat  any
		cut  time.Time
		code string
	}{
		"issued before":                    {start.Unix(), start.Add(time.Minute), auth.CodeTokenCutOff},
		"issued at the cut":                {start.Unix(), start, auth.CodeTokenCutOff},
		"issued in the second of the cut":  {start.Unix(), start.Add(900 * time.Millisecond), auth.CodeTokenCutOff},
		"a fraction after, by the token":   {float64(start.Unix()) + .9, start.Add(100 * time.Millisecond), auth.CodeTokenCutOff},
		"issued in the next second":        {start.Unix() + 1, start.Add(999 * time.Millisecond), ""},
		"issued after":                     {start.Unix() + 60, start, ""},
		"does not say when it was issued":  {nil, start.Add(-time.Hour), auth.CodeTokenCutOff},
		"cut of a long time ago, with iat": {start.Unix(), start.Add(-time.Hour), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := signHS(t, with(jwt.MapClaims{"iat": tt.iat}))
			cut := im.TokenCut{User: "alice", At: tt.cut}
			newClock := func() *clock { // a minute later nothing here is of the future
				c := newClock()
				c.advance(time.Minute)
				return c
			}

			t.Run("known at the start", func(t *testing.T) {
				cfg := hs256(newClock())
				cfg.Cuts = map[im.UserID]time.Time{cut.User: cut.At}
				_, err := newVerifier(t, cfg).Verify(token)
				wantCode(t, err, tt.code)
			})
			t.Run("before the token is seen", func(t *testing.T) {
				v := newVerifier(t, hs256(newClock()))
				v.Cut(cut)
				_, err := v.Verify(token)
				wantCode(t, err, tt.code)
			})
			t.Run("once it is cached", func(t *testing.T) {
				v := newVerifier(t, hs256(newClock()))
				p, err := v.Verify(token)
				wantCode(t, err, "")
				ticket, _ := v.IssueTicket(p)
				v.Cut(cut)
				for range 2 {
					_, err = v.Verify(token)
					wantCode(t, err, tt.code)
				}
				_, err = v.VerifyTicket(ticket)
				wantCode(t, err, tt.code)
			})
			t.Run("of another user", func(t *testing.T) {
				v := newVerifier(t, hs256(newClock()))
				v.Cut(im.TokenCut{User: "bob", At: cut.At})
				_, err := v.Verify(token)
				wantCode(t, err, "")
			})
		})
	}
}

func TestCutNeverMovesBack(t *testing.T) {
	v := newVerifier(t, hs256(newClock()))
	v.Cut(im.TokenCut{User: "alice", At: start})
	v.Cut(im.TokenCut{User: "alice", At: start.Add(-time.Hour)})
	_, err := v.Verify(signHS(t, good()))
	wantCode(t, err, auth.CodeTokenCutOff)
}

func TestCutsGivenAreNotShared(t *testing.T) {
	cfg := hs256(newClock())
	cfg.Cuts = map[im.UserID]time.Time{}
	v := newVerifier(t, cfg)
	v.Cut(im.TokenCut{User: "alice", At: start})
	if len(cfg.Cuts) != 0 {
		t.Error("the caller's map was written to")
	}
}

// A clock that is ahead must not make tokens that outlive a cut: what says a time to
// come is refused then and after, for it may have been there before the cut.
func TestCutOffOfTheFuture(t *testing.T) {
	const leeway = 30 * time.Second
	for name, tt := range map[string]struct {
		leeway time.Duration
		iat    time.Duration // after the cut, which is at the start
		now    time.Duration
		code   string
	}{
		"before it has come":              {leeway, 10 * time.Second, 0, auth.CodeTokenCutOff},
		"once it has come":                {leeway, 10 * time.Second, time.Minute, auth.CodeTokenCutOff},
		"at the leeway":                   {leeway, leeway, time.Minute, auth.CodeTokenCutOff},
		"after the leeway":                {leeway, leeway + time.Second, time.Minute, ""},
		"long after, of the future":       {leeway, time.Hour, time.Hour - time.Second, auth.CodeTokenCutOff},
		"long after, of now":              {leeway, time.Hour, time.Hour, ""},
		"no leeway, of the next second":   {0, time.Second, time.Second, ""},
		"no leeway, before it has come":   {0, time.Second, time.Second - 1, auth.CodeTokenFromFuture},
		"beyond the leeway, for all time": {leeway, leeway + time.Second, 0, auth.CodeTokenFromFuture},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			cfg := hs256(c)
			cfg.Leeway = tt.leeway
			v := newVerifier(t, cfg)
			token := signHS(t, with(jwt.MapClaims{"iat": start.Add(tt.iat).Unix(), "exp": start.Add(3 * time.Hour).Unix()}))
			c.set(start.Add(tt.iat))
			p, err := v.Verify(token) // it is cached
			wantCode(t, err, "")
			ticket, _ := v.IssueTicket(p)
			c.set(start.Add(tt.now))
			v.Cut(im.TokenCut{User: "alice", At: start})
			for range 2 {
				_, err = v.Verify(token)
				wantCode(t, err, tt.code)
			}
			_, err = v.VerifyTicket(ticket)
			if (err == nil) != (tt.code == "") {
				t.Errorf("the ticket: %v, want it to end as the token does", err)
			}
		})
	}
}
