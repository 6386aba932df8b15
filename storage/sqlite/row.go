package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/sqlite/packed"
)

// row is a row that is being read, by itself or in a list.
type row interface {
	// Scan stores the columns in the variables that dest points to. Blobs are not copied, and stay
	// valid.
	Scan(dest ...any) error
}

// singleRow is a row of [session.query].
type singleRow []driver.Value

// Scan implements [row].
func (r singleRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return fmt.Errorf("%d columns are scanned as %d", len(r), len(dest))
	}
	for i, column := range r {
		var v packed.Value
		switch c := column.(type) {
		case int64:
			v.Kind, v.Int = packed.Integer, c
		case string:
			v.Kind, v.Text = packed.Text, c
		case []byte:
			v.Kind, v.Bytes = packed.Blob, c
		default:
			v.Kind = packed.Null
		}
		if err := scanValue(dest[i], &v); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

// packedRow is a row of [session.list]. Unlike a singleRow it may be scanned in parts.
type packedRow struct{ rows *packed.Rows }

// Scan implements [row].
func (p packedRow) Scan(dest ...any) error {
	for i := range dest {
		v, err := p.rows.Next()
		if err == nil {
			err = scanValue(dest[i], &v)
		}
		if err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

// bool returns the next column.
func (p packedRow) bool() (is bool, err error) {
	v, err := p.rows.Next()
	return v.Int != 0, err
}

// skip skips columns.
func (p packedRow) skip(columns int) error {
	for range columns {
		if _, err := p.rows.Next(); err != nil {
			return err
		}
	}
	return nil
}

// scanValue stores a value in the variable that dest points to. It converts a number only to a type
// based on a number or a bool, and a text only to a type based on a string or to bytes.
func scanValue(dest any, v *packed.Value) error {
	fits := v.Kind == packed.Integer
	switch d := dest.(type) {
	case *sql.NullInt64:
		*d = sql.NullInt64{Int64: v.Int, Valid: fits}
		fits = fits || v.Kind == packed.Null
	case *sql.NullString:
		*d = sql.NullString{String: v.Text, Valid: v.Kind == packed.Text}
		fits = d.Valid || v.Kind == packed.Null
	case *sql.NullBool:
		*d = sql.NullBool{Bool: v.Int != 0, Valid: fits}
		fits = fits || v.Kind == packed.Null
	case *[]byte:
		*d, fits = v.Bytes, !fits
		if v.Kind == packed.Text {
			*d = []byte(v.Text)
		}
	case *int64:
		*d = v.Int
	case *int:
		*d = int(v.Int)
	case *bool:
		*d = v.Int != 0
	case *im.ID:
		*d = im.ID(v.Int)
	case *im.Position:
		*d = im.Position(v.Int)
	case *im.MessageType:
		*d = im.MessageType(v.Int)
	case *im.State:
		*d = im.State(v.Int)
	case *im.Role:
		*d = im.Role(v.Int)
	case *im.Kind:
		*d = im.Kind(v.Int)
	case *im.History:
		*d = im.History(v.Int)
	case *string:
		*d, fits = v.Text, v.Kind == packed.Text
	case *im.UserID:
		*d, fits = im.UserID(v.Text), v.Kind == packed.Text
	case *im.EventType:
		*d, fits = im.EventType(v.Text), v.Kind == packed.Text
	default:
		fits = scanOther(reflect.ValueOf(dest).Elem(), v)
	}
	if !fits {
		return fmt.Errorf("a value of type %d does not fit %T", v.Kind, dest)
	}
	return nil
}

// scanOther stores a value in a variable whose underlying type is a number, a bool or a string, and
// reports whether it fits.
func scanOther(dest reflect.Value, v *packed.Value) bool {
	switch {
	case v.Kind == packed.Text && dest.Kind() == reflect.String:
		dest.SetString(v.Text)
	case v.Kind != packed.Integer:
		return false
	case dest.CanInt() && !dest.OverflowInt(v.Int):
		dest.SetInt(v.Int)
	case dest.CanUint() && v.Int >= 0 && !dest.OverflowUint(uint64(v.Int)):
		dest.SetUint(uint64(v.Int))
	case dest.Kind() == reflect.Bool:
		dest.SetBool(v.Int != 0)
	default:
		return false
	}
	return true
}
