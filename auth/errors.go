package auth

import "github.com/imapi/imapi/im"

// The codes of the errors, stable and listed in api/openapi.yaml. All of them
// call for a 401, but [CodeKeysUnavailable], which calls for a 503.
const (
	CodeTokenMissing     = "token_missing"
	CodeTokenMalformed   = "token_malformed"
	CodeTokenExpired     = "token_expired"
	CodeTokenNotYetValid = "token_not_yet_valid"
	CodeTokenFromFuture  = "token_issued_in_future"
	CodeTokenInvalid     = "token_invalid"
	CodeInvalidSubject   = "invalid_subject"
	CodeTokenCutOff      = "token_cut_off"
	CodeTicketInvalid    = "ticket_invalid"
	CodeTicketExpired    = "ticket_expired"
	CodeKeysUnavailable  = "keys_unavailable"
)

// Error says why a token or ticket is refused. There is one value for each
// reason, so errors.Is works with the Err variables below.
type Error struct {
	// Code is stable and snake_case.
	Code string
	// Message is for a developer to read. It quotes nothing of what was sent.
	Message string
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is reports whether target is an [Error] with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// The refusals. Those of one code differ in their messages only.
var (
	ErrTokenMissing     = &Error{CodeTokenMissing, "the request carries no bearer token"}
	ErrTokenMalformed   = &Error{CodeTokenMalformed, "the token is not a signed JWT in compact form"}
	ErrTokenExpired     = &Error{CodeTokenExpired, "the token has expired"}
	ErrTokenNotYetValid = &Error{CodeTokenNotYetValid, "the token is not valid yet"}
	ErrTokenFromFuture  = &Error{CodeTokenFromFuture, "the token says that it was issued later than the server's clock allows"}
	ErrTokenInvalid     = &Error{CodeTokenInvalid, "the token's signature or algorithm is not accepted"}
	ErrInvalidSubject   = &Error{CodeInvalidSubject, "the token's claim sub is not a user id: " + im.UserIDRule}
	ErrTokenCutOff      = &Error{CodeTokenCutOff, "the user's tokens were cut off after this one was issued"}
	ErrTicketInvalid    = &Error{CodeTicketInvalid, "the ticket is not one of this server's"}
	ErrTicketExpired    = &Error{CodeTicketExpired, "the ticket has expired"}
	ErrKeysUnavailable  = &Error{CodeKeysUnavailable, "the keys that verify tokens cannot be fetched at present"}
)

// refuseClaim makes the [Error] about one claim, which it names.
func refuseClaim(claim string) *Error {
	return &Error{CodeTokenInvalid, "the token's claim " + claim + " is missing or not accepted"}
}
