package sqlite

import (
	"database/sql"
	"fmt"
	"reflect"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/sqlite/packed"
)

// row is a row that is being read: one of [sql.Rows], or of [session.list].
type row interface {
	// Scan copies the columns into what dest points to.
	Scan(dest ...any) error
}

var _ row = (*sql.Rows)(nil)

// packedRow is a row of [session.list]. Bytes that it scans are valid until list returns.
type packedRow struct{ rows *packed.Rows }

// Scan implements [row]. Unlike [sql.Rows] it knows the types of this package, and converts
// nothing but integers and texts of other types.
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

// skip passes over columns.
func (p packedRow) skip(columns int) error {
	for range columns {
		if _, err := p.rows.Next(); err != nil {
			return err
		}
	}
	return nil
}

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
		*d = v.Bytes
		if v.Bytes == nil && v.Kind != packed.Null {
			*d = []byte{}
		}
		fits = !fits
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

// scanOther copies a number into what is a number or a bool underneath, and reports whether
// it fits.
func scanOther(dest reflect.Value, v *packed.Value) bool {
	switch {
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
