package sqlite

// The numbers of package im as statements say them. They are text, not parameters: only
// then does SQLite see that a partial index, whose condition has the number, will do.
// TestNumbers holds that they are the same numbers.
const (
	// sqlLasting is the to_event of what lasts, and stands for the deleted_event of what
	// was not deleted.
	sqlLasting = "9223372036854775807"

	sqlGroup   = "2"
	sqlRoom    = "3" // and what is up to it is in the list of conversations
	sqlThread  = "4"
	sqlChannel = "5"
	sqlSpace   = "6"

	sqlActive = "1"
	sqlText   = "1"
	sqlOwner  = "3"

	sqlRead   = "2"
	sqlHidden = "3"

	sqlAllowList = "1"
	sqlDenyList  = "2"
)
