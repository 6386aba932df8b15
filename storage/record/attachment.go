package record

import (
	"encoding/json"
	"errors"

	"github.com/imapi/imapi/im"
)

// attachment is the sealed content of an attachment's row.
type attachment struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	SHA256 []byte `json:"sha256"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
}

// ErrAttachment means that the info of an attachment cannot be encoded or decoded. It does not
// quote the info, which is content.
var ErrAttachment = errors.New("the stored info of the attachment is malformed")

// Attachment encodes the info of an attachment. The error is [ErrAttachment].
func Attachment(i im.AttachmentInfo) ([]byte, error) {
	b, err := json.Marshal(attachment{i.Name, i.Type, i.SHA256[:], i.Width, i.Height})
	if err != nil {
		return nil, ErrAttachment
	}
	return b, nil
}

// ReadAttachment decodes what [Attachment] encoded. The error is [ErrAttachment].
func ReadAttachment(data []byte) (i im.AttachmentInfo, err error) {
	var a attachment
	if json.Unmarshal(data, &a) != nil || len(a.SHA256) != len(i.SHA256) {
		return i, ErrAttachment
	}
	return im.AttachmentInfo{Name: a.Name, Type: a.Type, SHA256: [32]byte(a.SHA256), Width: a.Width, Height: a.Height}, nil
}
