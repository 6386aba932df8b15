//go:build !race

package main

// raceFlag builds the binary under test like the test itself.
const raceFlag = "-race=false"
