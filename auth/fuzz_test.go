package auth_test

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

// seeds adds texts that are nearly tokens or tickets.
func seeds(f *testing.F) {
	other := []byte("a key that no verifier of the fuzz tests has")
	f.Add("")
	f.Add("..")
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.")
	f.Add("bnVsbA.bnVsbA.AA")
	f.Add(sign(f, jwt.SigningMethodHS256, other, good(), nil))
	f.Add(sign(f, jwt.SigningMethodHS256, other, good(), map[string]any{"typ": "ticket+jwt"}))
	f.Add(sign(f, jwt.SigningMethodHS512, other, with(jwt.MapClaims{"exp": 1e300, "aud": []any{1}}), map[string]any{"kid": []int{1}}))
	f.Add(sign(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(), map[string]any{"crit": "x"}))
	f.Add(sign(f, jwt.SigningMethodEdDSA, ed25519Key(), with(jwt.MapClaims{"aud": "imapi:events"}), nil))
}

// FuzzVerify checks that a text that no key of the verifier has signed is refused without a panic.
func FuzzVerify(f *testing.F) {
	seeds(f)
	c := newClock()
	symmetric := newVerifier(f, hs256(c))
	asymmetric := newVerifier(f, auth.Config{
		Algorithm: auth.ES256, PublicKeyPEM: publicPEM(f, &ecKey().PublicKey), TicketKey: ticketKey, Now: c.now,
	})
	f.Fuzz(func(t *testing.T, token string) {
		for _, v := range []*auth.Verifier{symmetric, asymmetric} {
			p, err := v.Verify(token)
			if err == nil || p != (auth.Principal{}) {
				t.Errorf("accepted %q as %+v", token, p)
			}
		}
	})
}

// FuzzVerifyTicket checks that an unsigned ticket is refused without a panic.
func FuzzVerifyTicket(f *testing.F) {
	seeds(f)
	v := newVerifier(f, hs256(newClock()))
	f.Fuzz(func(t *testing.T, ticket string) {
		p, err := v.VerifyTicket(ticket)
		if err == nil || p != (auth.Principal{}) {
			t.Errorf("accepted %q as %+v", ticket, p)
		}
	})
}

// FuzzTicketRoundTrip checks that verifying a ticket returns its principal.
func FuzzTicketRoundTrip(f *testing.F) {
	f.Add("alice", "phone", int64(1_700_000_000))
	f.Add(`<a&"\>`, "", int64(1))
	v := newVerifier(f, hs256(newClock()))
	f.Fuzz(func(t *testing.T, user, device string, issued int64) {
		if !im.UserID(user).Valid() || device != "" && !im.ValidDevice(device) || issued < 0 {
			return
		}
		p := auth.Principal{
			Actor:    im.Actor{User: im.UserID(user), Device: device},
			IssuedAt: time.Unix(issued, 0).UTC(), ExpiresAt: start.Add(time.Minute),
		}
		ticket, _ := v.IssueTicket(p)
		got, err := v.VerifyTicket(ticket)
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Errorf("%v, the ticket's principal (-want +got):\n%s", err, diff)
		}
	})
}
