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

// A page token is the place where a list goes on, and a check that it is
// given back to the same list with the same parameters: a token of another one
// would silently skip items. It grants nothing, for what may be seen is asked for
// on every page; but the place may be that of something that its reader must not
// know of, so tokens are sealed.
type pageToken struct {
	List uint32 `json:"l"` // a hash of what list this is
	Key  string `json:"k,omitempty"`
	At   int64  `json:"t,omitempty"`
	Seq  int64  `json:"s,omitempty"`
	AsOf int64  `json:"o,omitempty"` // when the list was taken
	Last int64  `json:"i,omitempty"` // the last message that it knows of, or told of
	In   int64  `json:"c,omitempty"` // the conversation in which it goes on
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

// sealer seals page tokens: AES-GCM with a nonce made of what is sealed, so that
// the same place has the same token.
type sealer struct {
	aead cipher.AEAD
	key  []byte
}

// newSealer returns one that makes the same tokens for the same key.
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
	_, _ = mac.Write(b) // never fails, says package hash
	nonce := mac.Sum(nil)[:s.sealer.aead.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(s.sealer.aead.Seal(nonce, nonce, b, nil))
}

// readPageToken reads the token that continues a list; nil begins it.
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

// cut ends a page that was asked for with one item more than limit, and says
// whether there is another.
func cut[T any](items []T, limit int) ([]T, bool) {
	if len(items) <= limit {
		return items, false
	}
	return items[:limit], true
}

// idPage reads the parameters of a list that goes on by id: from which one, 0 at
// its beginning, and how many items a page holds.
func (s *Server) idPage(list uint32, token *string, limit *int32, otherwise int32) (im.ID, int, error) {
	n := int(value(limit, otherwise))
	t, err := s.readPageToken(list, token)
	if err != nil || t == nil {
		return 0, n, err
	}
	return im.ID(t.Seq), n, nil
}

// idToken returns the token of the page that goes on from an id.
func (s *Server) idToken(list uint32, id im.ID) *string {
	return optional(s.seal(pageToken{List: list, Seq: int64(id)}))
}
