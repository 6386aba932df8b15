package sqlite

// On platforms that this package does not support, importing this fails to compile with a
// message that says so.
import _ "github.com/imapi/imapi/storage/sqlite/supported"
