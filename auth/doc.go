// Package auth turns tokens into actors.
//
// A [Verifier] accepts JSON Web Tokens signed with the one configured algorithm,
// issues and verifies the tickets with which a browser's EventSource opens a stream,
// and refuses tokens issued before a cut-off. [Mint] signs tokens for a server that
// keeps its own secret.
//
// The package never logs or quotes a token, a ticket or a claim.
//
//	auth.go      Principal: who a token or ticket names, and until when
//	bearer.go    the token in a header
//	config.go    Config: what a verifier accepts
//	verifier.go  verifying a token; claims.go its claims; errors.go why it is refused
//	keys.go      a public key in a file; jwks.go keys from a JSON Web Key Set
//	cache.go     tokens that were verified before
//	cuts.go      users whose tokens were cut off
//	ticket.go    issuing and verifying tickets
//	mint.go      signing tokens; secret.go the secret for it
//	describe.go  what a token says, unverified
package auth
