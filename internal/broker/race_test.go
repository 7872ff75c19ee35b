//go:build race

package broker

// The race detector takes several times the memory.
const raceEnabled = true
