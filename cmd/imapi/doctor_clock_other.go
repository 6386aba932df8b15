//go:build !linux

package main

import "errors"

// clockSynchronized is implemented only for Linux.
func clockSynchronized() (bool, error) { return false, errors.ErrUnsupported }
