// Package jsonscan reads JSON texts where they are, without building values.
//
// It is stricter than encoding/json, which a public API cannot rely on: it limits how deep
// a text is nested, and refuses objects with two members of the same name: one reader would
// use the first, and another the last.
//
// [Scan] checks a text. All other functions take a text that has passed it: they
// may panic, or return anything, on one that is not valid.
//
//	scan.go   checking a text
//	walk.go   the members of an object, the elements of an array, and strings
package jsonscan
