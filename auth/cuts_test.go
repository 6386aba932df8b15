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
		"issued before":                   {start.Unix(), start.Add(time.Minute), auth.CodeTokenCutOff},
		"issued at the cut":               {start.Unix(), start, auth.CodeTokenCutOff},
		"issued in the second of the cut": {start.Unix(), start.Add(900 * time.Millisecond), auth.CodeTokenCutOff},
		"a fraction after, by the token":  {float64(start.Unix()) + .9, start.Add(100 * time.Millisecond), auth.CodeTokenCutOff},
		"issued in the next second":       {start.Unix() + 1, start.Add(999 * time.Millisecond), ""},
		"issued after":                    {start.Unix() + 60, start, ""},
		"without iat":                     {nil, start.Add(-time.Hour), auth.CodeTokenCutOff},
		"cut long ago, with iat":          {start.Unix(), start.Add(-time.Hour), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := signHS(t, with(jwt.MapClaims{"iat": tt.iat}))
			cut := im.TokenCut{User: "alice", At: tt.cut}
			newClock := func() *clock { // late enough that no token is from the future
				c := newClock()
				c.advance(time.Minute)
				return c
			}

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

// TestCutOffOfTokensFromTheFuture: an issuer whose clock is ahead must not issue tokens
// that outlive a cut-off. A token from the future is refused then and later, because it
// may have been issued before the cut-off.
func TestCutOffOfTokensFromTheFuture(t *testing.T) {
	const leeway = 30 * time.Second
	for name, tt := range map[string]struct {
		leeway time.Duration
		iat    time.Duration // relative to the cut, which is at the start
		now    time.Duration
		code   string
	}{
		"iat in the future":               {leeway, 10 * time.Second, 0, auth.CodeTokenCutOff},
		"iat in the past by now":          {leeway, 10 * time.Second, time.Minute, auth.CodeTokenCutOff},
		"at the leeway":                   {leeway, leeway, time.Minute, auth.CodeTokenCutOff},
		"after the leeway":                {leeway, leeway + time.Second, time.Minute, ""},
		"long after, from the future":     {leeway, time.Hour, time.Hour - time.Second, auth.CodeTokenCutOff},
		"long after, issued now":          {leeway, time.Hour, time.Hour, ""},
		"no leeway, from the next second": {0, time.Second, time.Second, ""},
		"no leeway, iat in the future":    {0, time.Second, time.Second - 1, auth.CodeTokenFromFuture},
		"beyond the leeway, forever":      {leeway, leeway + time.Second, 0, auth.CodeTokenFromFuture},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := verifierWith(t, tt.leeway)
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
				t.Errorf("the ticket: %v, want it to expire with the token", err)
			}
		})
	}
}

// TestMaxAge: a token and its tickets expire when the token reaches the maximum age, or
// earlier by its exp. A token without iat is refused.
func TestMaxAge(t *testing.T) {
	const age, leeway = 10 * time.Minute, 30 * time.Second
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		at     time.Duration // after the start, when it is issued
		code   string
	}{
		"just issued":                 {nil, 0, ""},
		"just before the maximum age": {nil, age + leeway - 1, ""},
		"at the maximum age":          {nil, age + leeway, auth.CodeTokenExpired},
		"exp before the maximum age":  {jwt.MapClaims{"exp": start.Add(time.Minute).Unix()}, time.Minute + leeway, auth.CodeTokenExpired},
		"without an iat":              {jwt.MapClaims{"iat": nil}, 0, auth.CodeTokenInvalid},
		"iat zero":                    {jwt.MapClaims{"iat": 0}, 0, auth.CodeTokenExpired},
	} {
		t.Run(name, func(t *testing.T) {
			for _, cached := range []bool{false, true} {
				c := newClock()
				cfg := hs256(c)
				cfg.MaxAge, cfg.Leeway, cfg.TicketTTL = age, leeway, 24*time.Hour
				v := newVerifier(t, cfg)
				token := signHS(t, with(tt.claims))
				if p, err := v.Verify(token); cached && err == nil {
					ticket, until := v.IssueTicket(p)
					if until.After(start.Add(age + leeway)) {
						t.Errorf("a ticket until %v", until)
					}
					c.advance(tt.at)
					if _, err := v.VerifyTicket(ticket); tt.code != "" && err == nil {
						t.Error("the ticket outlives its token")
					}
				} else {
					c.advance(tt.at)
				}
				_, err := v.Verify(token)
				wantCode(t, err, tt.code)
			}
		})
	}
}

// TestMaxAgeOfOldTickets: a maximum age also applies to tickets issued before it was set.
func TestMaxAgeOfOldTickets(t *testing.T) {
	c := newClock()
	cfg := hs256(c)
	cfg.TicketTTL = 24 * time.Hour
	before := newVerifier(t, cfg)
	tickets := map[string]string{}
	for name, iat := range map[string]any{"old": start.Unix(), "without an iat": nil} {
		p, err := before.Verify(signHS(t, with(jwt.MapClaims{"iat": iat, "exp": start.Add(24 * time.Hour).Unix()})))
		wantCode(t, err, "")
		tickets[name], _ = before.IssueTicket(p)
	}
	cfg.MaxAge = time.Minute
	v := newVerifier(t, cfg)
	_, err := v.VerifyTicket(tickets["old"])
	wantCode(t, err, "")
	_, err = v.VerifyTicket(tickets["without an iat"])
	wantCode(t, err, auth.CodeTicketInvalid)
	c.advance(time.Minute)
	_, err = v.VerifyTicket(tickets["old"])
	wantCode(t, err, auth.CodeTicketExpired)
}

// TestForgottenCuts: tokens that a dropped cut-off could apply to are refused for every
// user, even if the maximum age was raised after it was dropped.
func TestForgottenCuts(t *testing.T) {
	c := newClock()
	v := newVerifier(t, hs256(c))
	v.Cut(im.TokenCut{User: "alice", At: start.Add(-time.Hour)})
	v.Cut(im.TokenCut{User: "bob", At: start.Add(10 * time.Second)})
	v.ForgetCuts(time.Time{})
	v.ForgetCuts(start.Add(-time.Minute))
	v.ForgetCuts(start.Add(-time.Hour)) // the time never moves back
	token := func(user string, ago time.Duration) string {
		return signHS(t, with(jwt.MapClaims{"sub": user, "iat": start.Add(-ago).Unix()}))
	}
	for name, tt := range map[string]struct{ token, code string }{
		"alice, issued before":   {token("alice", 2*time.Hour), auth.CodeTokenExpired},
		"carol, issued before":   {token("carol", time.Minute), auth.CodeTokenExpired},
		"alice, issued since":    {token("alice", 59*time.Second), ""},
		"bob, cut later":         {token("bob", 0), auth.CodeTokenCutOff},
		"without an iat":         {signHS(t, with(jwt.MapClaims{"sub": "carol", "iat": nil})), auth.CodeTokenExpired},
		"carol, issued just now": {token("carol", 0), ""},
	} {
		_, err := v.Verify(tt.token)
		t.Log(name)
		wantCode(t, err, tt.code)
	}
}
