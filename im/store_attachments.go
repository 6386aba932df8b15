package im

import "time"

// AttachmentReader reads attachments and their thumbnails. It does not check who may read them.
type AttachmentReader interface {
	ThumbnailReader

	// Attachment returns an attachment, or ErrNotFound.
	Attachment(id ID) (Attachment, error)
	// AttachmentUse returns the number and size of the attachments of a user, or of all users if
	// user is "".
	AttachmentUse(user UserID) (AttachmentUse, error)
	// MessagesWith returns up to limit active messages that have an attachment and ids less than
	// past, in descending order of id and without their content; a past of 0 starts at the newest.
	// It leaves out messages in conversations that [MessageReader.SearchedBy] does not return for
	// the user. The user may not be allowed to see all that it returns.
	MessagesWith(attachment ID, user UserID, past ID, limit int) ([]Message, error)
	// Orphans returns up to limit attachments that no message refers to and that were uploaded
	// before a time, the oldest first.
	Orphans(before time.Time, limit int) ([]ID, error)
	// DeadBlobs returns up to limit blobs of erased attachments whose keys are shredded, in the
	// order of their ids.
	DeadBlobs(limit int) ([]ID, error)
	// NamedBlobs returns the blobs among the given ones that belong to an attachment, even to an
	// erased one.
	NamedBlobs(ids []ID) ([]ID, error)
}

// AttachmentWriter stores and erases attachments and their thumbnails. A message refers to the
// attachments in [Message.Attachments] from when it is stored until it is erased, trimmed or
// purged. When this happens to the last message that refers to an attachment, the same transaction
// erases the attachment as EraseAttachment does.
type AttachmentWriter interface {
	ThumbnailWriter

	// InsertAttachment stores an attachment whose blob exists, and counts it for its
	// uploader. The same call may be repeated if its transaction was rolled back.
	InsertAttachment(a Attachment) error
	// EraseAttachment deletes an attachment. Its key is shredded after the commit, and its blob is
	// then dead. It does nothing if there is none.
	EraseAttachment(id ID) error
	// ForgetBlobs forgets dead blobs, whose files are deleted.
	ForgetBlobs(ids []ID) error
	// DoomSlot marks the key of a blob that no row names: it is shredded after the commit.
	DoomSlot(slot Slot) error
}
