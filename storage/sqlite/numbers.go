package sqlite

import (
	"fmt"
	"strings"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// numbers are the constants that statements and migrations name in braces: "state = {active}".
// [expand] replaces them with their values. They are not parameters because SQLite uses a partial
// index only if the statement contains the number in the index's condition.
var numbers = map[string]any{
	// open is the to_event of an interval that has not ended. It also stands for the
	// deleted_event of a conversation that is not deleted.
	"open": int64(im.Latest),

	"direct":  uint8(im.Direct),
	"group":   uint8(im.Group),
	"room":    uint8(im.Room), // kinds up to this one are in a user's list of conversations
	"thread":  uint8(im.Thread),
	"channel": uint8(im.Channel),
	"space":   uint8(im.Space),

	"active": uint8(im.Active),
	"text":   uint8(im.Text),
	"owner":  uint8(im.Owner),

	"thumbnail_waiting": uint8(im.ThumbnailWaiting),

	"allow_list": uint8(im.AllowList),
	"deny_list":  uint8(im.DenyList),

	"read_range":   uint8(record.Read),
	"hidden_range": uint8(record.Hidden),

	"inlined": inlined,

	"not_gone": int64(notHiddenCount),

	"max_intervals": int64(im.MaxIntervals),
	"max_last_sent": int64(im.MaxLastSent),
}

var numberReplacer = func() *strings.Replacer {
	pairs := make([]string, 0, 2*len(numbers))
	for name, value := range numbers {
		pairs = append(pairs, "{"+name+"}", fmt.Sprint(value))
	}
	return strings.NewReplacer(pairs...)
}()

// expand replaces the names of constants in SQL. An unknown name is left in place, so SQLite
// rejects the statement.
func expand(sql string) string { return numberReplacer.Replace(sql) }
