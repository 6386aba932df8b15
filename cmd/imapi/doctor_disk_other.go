//go:build !linux

package main

import "errors"

// statDisk is for Linux alone.
func statDisk(string) (disk, error) { return disk{}, errors.ErrUnsupported }
