// Package packed reads the rows of a statement in one call into C.
//
// The driver crosses into C for each row and allocates each value. That takes several times
// as long as SQLite needs to find a row. So [Query] wraps a statement in the aggregate
// function pack, which appends the values of all rows to one blob, and [Rows] decodes it.
//
//	packed.go    the statement, and decoding what it returns
//	register.go  registering pack
//	pack.h       pack, in C: a Go function would be called, and allocate, for each row
package packed
