package handlers

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"

	"github.com/imapi/imapi/im"
)

// pageToken is the position at which a list continues. It names the list and its parameters,
// because a token of another list would silently skip items. It grants nothing: access is
// checked for every page. Tokens are sealed because the position may reveal an item that the client
// must not know of.
type pageToken struct {
	List uint32 `json:"l"` // a hash that names the list
	Key  string `json:"k,omitempty"`
	At   int64  `json:"t,omitempty"`
	Seq  int64  `json:"s,omitempty"`
	AsOf int64  `json:"o,omitempty"` // the time of the list
	Last int64  `json:"i,omitempty"` // the last message listed, or the last that counts as activity
	In   int64  `json:"c,omitempty"` // the conversation in which the list continues
}

// listOf returns a hash of a list's operation and parameters.
func listOf(parts ...string) uint32 {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // package hash documents that it never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum32()
}

// sealer seals page tokens with AES-GCM. The nonce is a MAC of the token, so that the same
// position has the same token.
type sealer struct {
	aead cipher.AEAD
	key  []byte
}

// newSealer returns a sealer. Sealers with the same key make the same tokens.
func newSealer(key []byte) (sealer, error) {
	derived := sha256.Sum256(append([]byte("page tokens\x00"), key...))
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead: aead, key: derived[:]}, err
}

func (s *Server) seal(t pageToken) string {
	b, _ := json.Marshal(t) // a struct of integers and strings cannot fail
	mac := hmac.New(sha256.New, s.sealer.key)
	_, _ = mac.Write(b) // package hash documents that it never fails
	nonce := mac.Sum(nil)[:s.sealer.aead.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(s.sealer.aead.Seal(nonce, nonce, b, nil))
}

// readPageToken reads the token of a page. For a nil token, the first page, it returns nil.
func (s *Server) readPageToken(list uint32, token *string) (*pageToken, error) {
	if token == nil {
		return nil, nil
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(*token)
	var t pageToken
	if n := s.sealer.aead.NonceSize(); err == nil && len(sealed) >= n {
		var b []byte
		if b, err = s.sealer.aead.Open(nil, sealed[:n], sealed[n:], nil); err == nil {
			err = json.Unmarshal(b, &t)
		}
	}
	if err != nil || t.List != list {
		return nil, im.RefuseField(im.Invalid, "invalid_page_token", "page_token", "is not a token of this list with these parameters")
	}
	return &t, nil
}

// cut shortens a page that was read with one more item than limit, and returns the token of the next
// page, nil on the last one. after returns the position after an item.
func cut[T any](s *Server, items []T, limit int, after func(T) pageToken) ([]T, *string) {
	if len(items) <= limit {
		return items, nil
	}
	return items[:limit], optional(s.seal(after(items[limit-1])))
}

// idPage reads the parameters of a list in the order of ids: the id to continue from, 0 for
// the first page, and the limit.
func (s *Server) idPage(list uint32, token *string, limit *int32, otherwise int32) (im.ID, int, error) {
	n := int(value(limit, otherwise))
	t, err := s.readPageToken(list, token)
	if err != nil || t == nil {
		return 0, n, err
	}
	return im.ID(t.Seq), n, nil
}

// idToken is the position after an id; see [Server.idPage].
func idToken(list uint32, id im.ID) pageToken { return pageToken{List: list, Seq: int64(id)} }

// userPage reads the parameters of a list of users. The page has room for one more item than the
// returned limit: if that item exists, there is a next page.
func (s *Server) userPage(list uint32, token *string, limit *int32) (im.Page, int, error) {
	n := int(value(limit, 100))
	t, err := s.readPageToken(list, token)
	if err != nil || t == nil {
		return im.Page{Limit: n + 1}, n, err
	}
	return im.Page{After: t.Key, Limit: n + 1}, n, nil
}

// userToken is the position after a user; see [Server.userPage].
func userToken(list uint32, user im.UserID) pageToken {
	return pageToken{List: list, Key: string(user)}
}
