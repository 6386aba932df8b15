// Package presend asks the application about messages before they are stored: it is the HTTP
// side of the pre-send hook, an [im.PresendHook].
//
// A question is one request, signed after the Standard Webhooks specification. Whatever is not a
// usable answer within the time is an error; package im decides what happens then. A hook that
// has failed several users in a row is left alone for a moment, so that a dead one delays
// nobody.
package presend
