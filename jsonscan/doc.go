// Package jsonscan reads JSON texts in place, without building values.
//
// It is stricter than encoding/json, as a public API must be: it limits the depth of a text, and
// refuses objects with two members of the same name, of which one reader would use the first and
// another the last.
//
// [Scan] and [Fault] check a text. Scan also returns its [Value], for a text that is read more than
// once, such as the body of a request. The other functions take a text that has passed, unless they
// say otherwise: they may panic, or return anything, on one that is not valid. They need no memory
// for what they read, such as a line of an import.
//
//	scan.go    checking a text
//	value.go   the values in a text, as Scan found them
//	walk.go    the members of an object, the elements of an array, and strings, in a text
package jsonscan
