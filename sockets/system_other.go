//go:build !linux

package sockets

import (
	"errors"
	"syscall"
)

const supported = false

func writeNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func watch(syscall.RawConn, func()) (uint64, error) { return 0, errors.ErrUnsupported }

func unwatch(uint64) {}
