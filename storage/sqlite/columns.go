package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
)

// fromMillis converts a column to a time.
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// optionalTime converts a column to a time; NULL becomes the zero time.
func optionalTime(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return fromMillis(ms.Int64)
}

// optionalMillis is the inverse of optionalTime.
func optionalMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromDuration(ms sql.NullInt64) time.Duration { return time.Duration(ms.Int64) * time.Millisecond }

// optionalDuration converts a column to a duration; NULL becomes nil.
func optionalDuration(ms sql.NullInt64) *time.Duration {
	if !ms.Valid {
		return nil
	}
	d := fromDuration(ms)
	return &d
}

// durationMillis is the inverse of optionalDuration.
func durationMillis(d *time.Duration) sql.NullInt64 {
	if d == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: d.Milliseconds(), Valid: true}
}

// optionalID converts an id to a column; 0 becomes NULL.
func optionalID(id im.ID) sql.NullInt64 { return sql.NullInt64{Int64: int64(id), Valid: id != 0} }
