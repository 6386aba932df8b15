package im

// ThumbnailReader reads thumbnails of attachments. A thumbnail exists as long as its
// attachment.
type ThumbnailReader interface {
	// Thumbnail returns the thumbnail of an attachment, or ErrNotFound if it has none.
	Thumbnail(attachment ID) (Thumbnail, error)
	// NextThumbnail returns the waiting thumbnail to make next, or ErrNotFound if none is waiting.
	// Uploaders take turns in a circular order of the engine's choice: it is the turn of the next
	// one after past, or of any if past is "". Each uploader's oldest attachment comes first.
	NextThumbnail(past UserID) (Thumbnail, error)
	// WaitingThumbnails returns the number of waiting thumbnails, at most limit.
	WaitingThumbnails(limit int) (int, error)
}

// ThumbnailWriter stores thumbnails. Everything that erases an attachment, such as
// [AttachmentWriter.EraseAttachment], erases its thumbnail in the same way.
type ThumbnailWriter interface {
	// InsertThumbnail stores a thumbnail without a blob, or returns ErrNotFound if its attachment
	// does not exist.
	InsertThumbnail(t Thumbnail) error
	// UpdateThumbnail stores the state, tries and blob of a thumbnail, or returns ErrNotFound
	// if it no longer exists. If it had another blob, that is erased: its key is shredded
	// after the commit, and the blob is then dead.
	UpdateThumbnail(t Thumbnail) error
}
