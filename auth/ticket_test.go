package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

func TestTicketRoundTrip(t *testing.T) {
	c := newClock()
	v := newVerifier(t, hs256(c))
	p, err := v.Verify(signHS(t, with(jwt.MapClaims{
		"device": "phone", "scope": "admin", "exp": start.Add(24 * time.Hour).Unix(),
	})))
	wantCode(t, err, "")
	ticket, expires := v.IssueTicket(p)
	if want := start.Add(time.Hour); !expires.Equal(want) {
		t.Errorf("expires at %v, want %v", expires, want)
	}
	if len(ticket) > 400 || strings.ContainsAny(ticket, "+/=%&? ") {
		t.Errorf("%d bytes, or not safe in a URL: %s", len(ticket), ticket)
	}
	got, err := v.VerifyTicket(ticket)
	wantCode(t, err, "")
	want := auth.Principal{
		Actor: im.Actor{User: "alice", Device: "phone"}, IssuedAt: p.IssuedAt, ExpiresAt: expires,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the ticket's principal (-want +got):\n%s", diff)
	}

	c.set(expires.Add(-1))
	_, err = v.VerifyTicket(ticket)
	wantCode(t, err, "")
	c.set(expires)
	_, err = v.VerifyTicket(ticket)
	wantCode(t, err, auth.CodeTicketExpired)
}

// TestTicketFitsAURL: the OpenAPI document allows 2,048 characters for a ticket.
func TestTicketFitsAURL(t *testing.T) {
	v := newVerifier(t, hs256(newClock()))
	for _, c := range []string{"a", "<", `"`, " ", "~"} {
		long := strings.Repeat(c, im.MaxUserID)
		p := auth.Principal{
			Actor:    im.Actor{User: im.UserID(long), Device: long},
			IssuedAt: start, ExpiresAt: start.Add(time.Minute),
		}
		ticket, _ := v.IssueTicket(p)
		if len(ticket) > 1000 {
			t.Errorf("%d characters with %q", len(ticket), c)
		}
		got, err := v.VerifyTicket(ticket)
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Errorf("%v, the ticket's principal (-want +got):\n%s", err, diff)
		}
	}
}

func TestTicketNeverOutlivesToken(t *testing.T) {
	c := newClock()
	cfg := hs256(c)
	cfg.TicketTTL = 10 * time.Minute
	v := newVerifier(t, cfg)
	for _, left := range []time.Duration{time.Second, 9 * time.Minute, 10 * time.Minute, 11 * time.Minute} {
		p, err := v.Verify(signHS(t, with(jwt.MapClaims{"exp": start.Add(left).Unix()})))
		wantCode(t, err, "")
		_, expires := v.IssueTicket(p)
		if want := start.Add(min(left, cfg.TicketTTL)); !expires.Equal(want) {
			t.Errorf("with %v left: expires at %v, want %v", left, expires, want)
		}
	}
	// A principal with less than a second left gets an expired ticket.
	c.set(start.Add(500 * time.Millisecond))
	ticket, expires := v.IssueTicket(auth.Principal{
		Actor: im.Actor{User: "alice"}, ExpiresAt: start.Add(900 * time.Millisecond),
	})
	if !expires.Equal(start) {
		t.Errorf("expires at %v", expires)
	}
	_, err := v.VerifyTicket(ticket)
	wantCode(t, err, auth.CodeTicketExpired)
}

func TestTicketsAreNotTokens(t *testing.T) {
	c := newClock()
	v := newVerifier(t, hs256(c))
	token := signHS(t, good())
	p, err := v.Verify(token)
	wantCode(t, err, "")
	ticket, _ := v.IssueTicket(p)

	_, err = v.Verify(ticket)
	wantCode(t, err, auth.CodeTokenInvalid)
	_, err = v.VerifyTicket(token)
	wantCode(t, err, auth.CodeTicketInvalid)

	// Each difference suffices: these have one property of a ticket and the others of a token, or
	// the other way round.
	audience := with(jwt.MapClaims{"aud": "imapi:events"})
	tests := map[string]string{
		"token with the ticket's key":   sign(t, jwt.SigningMethodHS256, ticketKey, good(), nil),
		"without the type":              sign(t, jwt.SigningMethodHS256, ticketKey, audience, nil),
		"without the audience":          sign(t, jwt.SigningMethodHS256, ticketKey, good(), map[string]any{"typ": "ticket+jwt"}),
		"with the secret":               sign(t, jwt.SigningMethodHS256, secret, audience, map[string]any{"typ": "ticket+jwt"}),
		"alg none":                      sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, audience, map[string]any{"typ": "ticket+jwt"}),
		"without exp":                   sign(t, jwt.SigningMethodHS256, ticketKey, with(jwt.MapClaims{"aud": "imapi:events", "exp": nil}), map[string]any{"typ": "ticket+jwt"}),
		"expired with another audience": sign(t, jwt.SigningMethodHS256, ticketKey, with(jwt.MapClaims{"aud": "x", "exp": 1}), map[string]any{"typ": "ticket+jwt"}),
		"user not in base64url":         sign(t, jwt.SigningMethodHS256, ticketKey, with(jwt.MapClaims{"aud": "imapi:events", "sub": "alice!"}), map[string]any{"typ": "ticket+jwt"}),
		"device not in base64url":       sign(t, jwt.SigningMethodHS256, ticketKey, with(jwt.MapClaims{"aud": "imapi:events", "device": "alice!"}), map[string]any{"typ": "ticket+jwt"}),
		"nothing":                       "",
		"not one":                       "ticket",
		"line break":                    ticket[:9] + "\n" + ticket[9:],
		"cut short":                     ticket[:len(ticket)-3],
		"longer":                        ticket + "AA",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := v.VerifyTicket(text)
			wantCode(t, err, auth.CodeTicketInvalid)
		})
	}
}

func TestTicketOfAnotherServer(t *testing.T) {
	c := newClock()
	other := hs256(c)
	other.TicketKey = []byte("the ticket key of some other server")
	ticket, _ := newVerifier(t, other).IssueTicket(auth.Principal{
		Actor: im.Actor{User: "alice"}, ExpiresAt: start.Add(time.Hour),
	})
	_, err := newVerifier(t, hs256(c)).VerifyTicket(ticket)
	wantCode(t, err, auth.CodeTicketInvalid)
}
