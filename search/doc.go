// Package search says which words a text has, whether it has those that
// somebody looks for, and where.
//
// A store keeps an index of [Hasher.Document] for each text and asks it for
// [Hasher.Query]; what it answers are candidates, and [Terms.Match] decides.
package search
