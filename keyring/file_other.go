//go:build unix && !linux

package keyring

import "os"

func syncData(f *os.File) error { return f.Sync() }

func punch(*os.File, int64, int64) error { return nil }
