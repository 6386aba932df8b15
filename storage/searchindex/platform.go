package searchindex

// Where this does not work the compiler stops there, with a sentence that says why.
import _ "github.com/imapi/imapi/storage/sqlite/supported"
