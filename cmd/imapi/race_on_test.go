//go:build race

package main

// raceFlag has the binary under test built like the test itself.
const raceFlag = "-race"
