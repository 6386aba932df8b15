package packed

// #include "pack.h"
import "C"

import _ "github.com/mattn/go-sqlite3" // has the SQLite that pack.h is linked to

func register() int { return int(C.pack_register()) }
