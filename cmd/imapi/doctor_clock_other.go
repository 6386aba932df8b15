//go:build !linux

package main

import "errors"

// clockSynchronized is for Linux alone.
func clockSynchronized() (bool, error) { return false, errors.ErrUnsupported }
