package packed_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/storage/sqlite/packed"
)

func open(tb testing.TB) *sql.DB {
	tb.Helper()
	if err := packed.Register(); err != nil {
		tb.Fatal(err)
	}
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func pack(tb testing.TB, db *sql.DB, query string, columns int, args ...any) []byte {
	tb.Helper()
	var blob []byte
	if err := db.QueryRowContext(tb.Context(), packed.Query(query, columns), args...).Scan(&blob); err != nil {
		tb.Fatal(err)
	}
	return blob
}

// TestPackedRows checks that each value is returned unchanged, in the order of the statement.
func TestPackedRows(t *testing.T) {
	db := open(t)
	long := strings.Repeat("long ", 300_000)
	want := []any{
		int64(0), int64(1), int64(-1), int64(63), int64(64), int64(-65), int64(math.MaxInt64), int64(math.MinInt64),
		nil, "", "text", "a\x00b", "ä€😀",
		[]byte{},
		[]byte{0, 1, 255},
		long, []byte(long),
	}
	var rows []string
	for i := range want {
		rows = append(rows, fmt.Sprintf("SELECT %d AS at, ?%d", i, i+1))
	}
	// Insert them in the opposite order, so that the statement has to sort them.
	blob := pack(t, db, strings.Join(rows, " UNION ALL ")+" ORDER BY at DESC", 2, want...)
	read := packed.NewRows(blob)
	for i := range slices.Backward(want) {
		at, err := read.Next()
		if err != nil || at.Kind != packed.Integer || at.Int != int64(i) {
			t.Fatalf("row %d begins with %+v, %v", i, at, err)
		}
		v, err := read.Next()
		if err != nil {
			t.Fatal(err)
		}
		var got any
		switch v.Kind {
		case packed.Integer:
			got = v.Int
		case packed.Text:
			got = v.Text
		case packed.Blob:
			got = bytes.Clone(v.Bytes)
		case packed.Null:
		}
		if v.Text != string(v.Bytes) || !reflect.DeepEqual(got, want[i]) && len(long) != len(v.Text) {
			t.Errorf("got %v, want %v", got, want[i])
		}
		if len(v.Text) == len(long) && v.Text != long {
			t.Error("a long value has changed")
		}
	}
	if read.More() {
		t.Error("there are more values")
	}
}

func TestPackedNothing(t *testing.T) {
	if blob := pack(t, open(t), "SELECT 1 WHERE false", 1); blob != nil {
		t.Errorf("no rows are %v", blob)
	}
}

// TestPackedFails checks that an error while rows are packed is returned as the statement's error,
// and that the connection works afterwards.
func TestPackedFails(t *testing.T) {
	db := open(t)
	db.SetMaxOpenConns(1)
	var blob []byte
	failing := packed.Query("SELECT abs(j.value) FROM json_each(?) AS j", 1)
	if err := db.QueryRowContext(t.Context(), failing, "[1,2,-9223372036854775808]").Scan(&blob); err == nil || blob != nil {
		t.Errorf("got %v, %v", blob, err)
	}
	if blob := pack(t, db, "SELECT 7", 1); !bytes.Equal(blob, []byte{1, 14}) {
		t.Errorf("afterwards got %v", blob)
	}
}

func TestMalformed(t *testing.T) {
	for _, blob := range [][]byte{nil, {1}, {1, 0x80}, {2, 1}, {3}, {3, 1}, {4, 5, 1, 2}, {0, 0}, {3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}} {
		if v, err := packed.NewRows(blob).Next(); !errors.Is(err, packed.ErrMalformed) {
			t.Errorf("%v: %+v, %v", blob, v, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte{1, 14, 5, 3, 1, 'a', 4, 0})
	f.Fuzz(func(t *testing.T, blob []byte) {
		rows := packed.NewRows(blob)
		for n := 0; rows.More(); n++ {
			if _, err := rows.Next(); err != nil {
				return
			}
			if n > len(blob) {
				t.Fatal("more values than bytes")
			}
		}
	})
}
