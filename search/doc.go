// Package search splits texts into words, decides whether a text matches a query, and marks the
// matches.
//
// A store keeps an index of [Hasher.Document] for each text and looks up [Hasher.Query].
// The results are candidates; [Terms.Match] decides.
package search
