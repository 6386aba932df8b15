// Package supported does not compile where imapi does not work, and says why.
// What would not compile there either imports it: the compiler gets to this
// package first, and to nothing else.
package supported
