package packed

// #include "pack.h"
import "C"

import _ "github.com/mattn/go-sqlite3" // has SQLite, to which pack.h is linked

func register() int { return int(C.pack_register()) }
