// Package supported fails to compile on platforms where imapi does not work, with an error
// that says why. Packages that would not compile there import it: the compiler then reports only
// this package.
package supported
