package handlers

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// jsonObject appends a JSON object to a buffer, one member per call. Messages, conversations and
// events are written with it instead of encoding/json, which would scan and copy the stored JSON in
// them once more.
type jsonObject struct{ buf []byte }

// openObject begins an object at the end of buf.
func openObject(buf []byte) jsonObject { return jsonObject{append(buf, '{')} }

// close ends the object and returns the buffer.
func (o *jsonObject) close() []byte { return append(o.buf, '}') }

// name begins a member. Names need no escapes.
func (o *jsonObject) name(name string) {
	if o.buf[len(o.buf)-1] != '{' {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...)
	o.buf = append(o.buf, '"', ':')
}

func (o *jsonObject) text(name, s string) {
	o.name(name)
	o.buf = im.AppendQuoted(o.buf, s)
}

func (o *jsonObject) integer(name string, n int64) {
	o.name(name)
	o.buf = strconv.AppendInt(o.buf, n, 10)
}

func (o *jsonObject) boolean(name string, b bool) {
	o.name(name)
	o.buf = strconv.AppendBool(o.buf, b)
}

func (o *jsonObject) id(name string, id im.ID) {
	o.name(name)
	o.buf = appendID(o.buf, id)
}

func appendID(buf []byte, id im.ID) []byte { return append(id.Append(append(buf, '"')), '"') }

func (o *jsonObject) time(name string, t time.Time) {
	o.name(name)
	o.buf = api.Time(t).Append(o.buf)
}

// raw adds a value that is JSON already; null if it is empty.
func (o *jsonObject) raw(name string, v json.RawMessage) {
	if len(v) == 0 {
		v = json.RawMessage("null")
	}
	o.name(name)
	o.buf = append(o.buf, v...)
}

func (o *jsonObject) null(name string) { o.raw(name, nil) }

func (o *jsonObject) textOrNull(name, s string) {
	if s == "" {
		o.null(name)
		return
	}
	o.text(name, s)
}

func (o *jsonObject) timeOrNull(name string, t time.Time) {
	if t.IsZero() {
		o.null(name)
		return
	}
	o.time(name, t)
}

// The methods whose names end in IfSet add nothing for a zero value.

func (o *jsonObject) textIfSet(name, s string) {
	if s != "" {
		o.text(name, s)
	}
}

func (o *jsonObject) idIfSet(name string, id im.ID) {
	if id != 0 {
		o.id(name, id)
	}
}

func (o *jsonObject) integerIfSet(name string, n int64) {
	if n != 0 {
		o.integer(name, n)
	}
}

func (o *jsonObject) timeIfSet(name string, t time.Time) {
	if !t.IsZero() {
		o.time(name, t)
	}
}

func (o *jsonObject) trueIfSet(name string, b bool) {
	if b {
		o.boolean(name, true)
	}
}

func (o *jsonObject) idOrNull(name string, id im.ID) {
	if id == 0 {
		o.null(name)
		return
	}
	o.id(name, id)
}

func (o *jsonObject) integerOrNull(name string, n *int64) {
	if n == nil {
		o.null(name)
		return
	}
	o.integer(name, *n)
}

// object adds an object. addMembers adds its members.
func (o *jsonObject) object(name string, addMembers func(*jsonObject)) {
	o.name(name)
	o.buf = append(o.buf, '{')
	addMembers(o)
	o.buf = append(o.buf, '}')
}

func (o *jsonObject) users(name string, users []im.UserID) {
	addList(o, name, users, im.AppendQuoted[im.UserID])
}

// addList adds a list. appendItem appends one item.
func addList[T any](o *jsonObject, name string, items []T, appendItem func([]byte, T) []byte) {
	o.name(name)
	o.buf = append(o.buf, '[')
	for i, item := range items {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendItem(o.buf, item)
	}
	o.buf = append(o.buf, ']')
}
