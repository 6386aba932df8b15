package im

// ThumbnailReader reads thumbnails of attachments. A thumbnail is known as long as its
// attachment.
type ThumbnailReader interface {
	// Thumbnail returns the thumbnail of an attachment, or ErrNotFound if it has none.
	Thumbnail(attachment ID) (Thumbnail, error)
	// NextThumbnail returns the waiting thumbnail that is to be made next, or ErrNotFound if
	// none is waiting. Uploaders take turns, in an order of the engine's choice that goes on
	// after a user and begins again; "" begins anywhere. Of one uploader it is that of the
	// oldest attachment.
	NextThumbnail(past UserID) (Thumbnail, error)
	// WaitingThumbnails returns how many thumbnails are waiting, at most limit.
	WaitingThumbnails(limit int) (int, error)
}

// ThumbnailWriter stores thumbnails. [AttachmentWriter.EraseAttachment], and whatever else
// erases an attachment, erases its thumbnail in the same way.
type ThumbnailWriter interface {
	// InsertThumbnail stores a thumbnail without a blob, of an attachment that exists.
	InsertThumbnail(t Thumbnail) error
	// UpdateThumbnail stores the state, tries and blob of a thumbnail, or returns
	// ErrNotFound if it is not known any more. If it had another blob, that is erased: its
	// key is shredded after the commit, and it is then dead.
	UpdateThumbnail(t Thumbnail) error
}
