package disktest

/*
#cgo linux LDFLAGS: -Wl,--unresolved-symbols=ignore-in-object-files
#cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup
#include "vfs.h"
*/
import "C"

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"

	_ "github.com/mattn/go-sqlite3" // links SQLite
)

// register makes SQLite use this package's file system by default.
var register = sync.OnceFunc(func() {
	if rc := C.disktest_register(); rc != 0 {
		panic(rc)
	}
})

// The SQLite error codes that stand for errors of the disk.
const (
	sqliteFull  = 13
	sqliteWrite = 10 | 3<<8
	sqliteSync  = 10 | 4<<8
)

func code(err error, other C.int) C.int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.ENOSPC):
		return sqliteFull
	}
	return other
}

//export diskOpen
func diskOpen(name *C.char) C.int { return C.int(numberOf(C.GoString(name))) }

//export diskRemove
func diskRemove(name *C.char) { remove(C.GoString(name)) }

//export diskWrite
func diskWrite(number C.int, b unsafe.Pointer, n C.int, at C.int64_t) C.int {
	f := byNumber(int(number))
	return code(f.disk.do(Op{Kind: Write, Name: f.name, At: int64(at), Data: C.GoBytes(b, n)}), sqliteWrite)
}

//export diskTruncate
func diskTruncate(number C.int, size C.int64_t) C.int {
	f := byNumber(int(number))
	return code(f.disk.do(Op{Kind: Truncate, Name: f.name, At: int64(size)}), sqliteWrite)
}

//export diskSync
func diskSync(number C.int) C.int {
	f := byNumber(int(number))
	return code(f.disk.do(Op{Kind: Sync, Name: f.name}), sqliteSync)
}
