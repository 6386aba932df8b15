// Package search splits texts into words, decides whether a text matches a query, and marks the
// matches.
//
// A store keeps an index of [Hasher.Document] for each text and looks up [Hasher.Query].
// The results are candidates; [Terms.Match] decides.
//
//	fold.go       splitting a text into folded words
//	terms.go      [Terms]: parsing what is searched for, and matching a text
//	snippet.go    [Terms.Snippet]: the part of a text around the matches, and where a text may be cut
//	index.go      [Hasher]: the entries of a text and of a query
//	continued.go  looking up a prefix that is too short to have entries
package search
