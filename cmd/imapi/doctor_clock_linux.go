package main

import "syscall"

// timeError is the state of a clock that nothing synchronizes: see adjtimex(2).
const timeError = 5

// clockSynchronized reports whether a time service sets the clock of this machine.
func clockSynchronized() (bool, error) {
	var query syscall.Timex // without modes it changes nothing
	state, err := syscall.Adjtimex(&query)
	return state != timeError, err
}
