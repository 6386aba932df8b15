//go:build !linux

package main

import "errors"

// statDisk is implemented for Linux only.
func statDisk(string) (disk, error) { return disk{}, errors.ErrUnsupported }
