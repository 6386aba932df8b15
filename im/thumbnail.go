package im

import (
	"context"
	"io"
	"slices"
)

// ThumbnailState is the state of the thumbnail of an attachment.
type ThumbnailState uint8

// The states of thumbnails. Their numbers are stored. An attachment that is not a picture has
// no thumbnail and no state.
const (
	// ThumbnailWaiting: it has yet to be made.
	ThumbnailWaiting ThumbnailState = 1
	// ThumbnailMade: it can be read.
	ThumbnailMade ThumbnailState = 2
	// ThumbnailFailed: it cannot be made, and is not tried again.
	ThumbnailFailed ThumbnailState = 3
)

// Thumbnail is the thumbnail of an attachment. Its blob exists when it was made, and is
// erased with the attachment.
type Thumbnail struct {
	Attachment ID
	Uploader   UserID // of the attachment
	State      ThumbnailState
	// Tries is the number of attempts to make it that were begun. An attempt that ended before
	// there was a thumbnail, because the maker, the store or the file was not available or the
	// server stopped, does not count.
	Tries int
	// ID is the id of the blob. Slot has its key, which also seals Info.
	ID   ID
	Slot Slot
	Size int64
	// Info describes the bytes. It has no name.
	Info AttachmentInfo
}

// pictures are the media types that can have thumbnails.
var pictures = []string{"image/gif", "image/jpeg", "image/png", "image/webp"}

// maxPictureBytes is the maximum size of a picture from which a thumbnail is made, in bytes.
const maxPictureBytes = 32 << 20

// isPicture reports whether a thumbnail can be made of an attachment.
func (a Attachment) isPicture() bool {
	return slices.Contains(pictures, a.Info.Type) && a.Size <= maxPictureBytes
}

// maxTries is the maximum number of attempts to make a thumbnail. If the server or the process that
// makes thumbnails dies during an attempt, the picture may be the cause.
const maxTries = 3

// A ThumbnailMaker makes thumbnails.
type ThumbnailMaker interface {
	// Thumbnail makes a thumbnail of a picture of size bytes, and reads as much of it as it needs.
	// It returns [ErrNoThumbnail] if none can be made, and [ErrThumbnailUnavailable] if it cannot
	// make any now. After any error but [ErrNoThumbnail] the call may be repeated.
	Thumbnail(ctx context.Context, file io.Reader, size int64) (MadeThumbnail, error)
}

// MadeThumbnail is what a [ThumbnailMaker] has made.
type MadeThumbnail struct {
	Type          string // image/jpeg or image/png
	Width, Height int
	Bytes         []byte // some tens of kilobytes
}

// StoredThumbnail is a thumbnail with its bytes.
type StoredThumbnail struct {
	Info  AttachmentInfo
	Bytes []byte
}
