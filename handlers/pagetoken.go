package handlers

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"

	"github.com/imapi/imapi/im"
)

// A page token is the place where a list goes on, and a check that it is
// given back to the same list with the same parameters: a token of another one
// would silently skip items. Tokens are not secret and grant nothing, for what
// may be seen is asked for on every page; so they are not signed.
type pageToken struct {
	List uint32 `json:"l"` // a hash of what list this is
	Key  string `json:"k,omitempty"`
	At   int64  `json:"t,omitempty"`
	Seq  int64  `json:"s,omitempty"`
	AsOf int64  `json:"o,omitempty"` // when the list was taken
}

// listOf names a list by its operation and the parameters that shape it.
func listOf(parts ...string) uint32 {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails, says package hash
		_, _ = h.Write([]byte{0})
	}
	return h.Sum32()
}

func (t pageToken) String() string {
	b, _ := json.Marshal(t) // a struct of integers and strings cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// readPageToken reads the token that continues a list; nil begins it.
func readPageToken(list uint32, token *string) (*pageToken, error) {
	if token == nil {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(*token)
	var t pageToken
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	// One text a token: what would not be written again as it came is refused.
	if err != nil || t.List != list || t.String() != *token {
		return nil, im.RefuseField(im.Invalid, "invalid_page_token", "page_token", "is not a token of this list with these parameters")
	}
	return &t, nil
}

// cut ends a page that was asked for with one item more than limit, and says
// whether there is another.
func cut[T any](items []T, limit int) ([]T, bool) {
	if len(items) <= limit {
		return items, false
	}
	return items[:limit], true
}
