// Package presend asks the application about messages before they are stored: it is the HTTP
// side of the pre-send hook, an [im.PresendHook].
//
// A question is one request, signed as the Standard Webhooks specification says. Anything but
// a usable answer in time is an error; package im decides what happens then. A hook that has
// failed for several users in a row is paused for a moment, so that a dead one does not delay
// every message.
package presend
