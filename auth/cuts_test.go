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
