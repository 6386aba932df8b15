package im

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SealedKind is the kind of a sealed content.
type SealedKind uint8

// The kinds of content that have a key of their own.
const (
	SealedMessage    SealedKind = iota + 1 // the content of a message
	SealedNote                             // the postscript and extension of a revoked message
	SealedName                             // a text of a conversation, or the name of a role
	SealedAttachment                       // an attachment: its description and its blob
	SealedThumbnail                        // the thumbnail of an attachment; it has the id of the attachment
	SealedSecret                           // the secrets of a webhook
)

var sealedNames = names[SealedKind]{
	SealedMessage: "message", SealedNote: "postscript", SealedName: "name", SealedAttachment: "attachment", SealedThumbnail: "thumbnail",
	SealedSecret: "webhook secret",
}

// String returns the name of the kind.
func (k SealedKind) String() string { return sealedNames[k] }

// Sealed is a sealed content and whether it can be unsealed.
type Sealed struct {
	Kind SealedKind
	// ID is the id of the message, attachment or webhook, or of the conversation or role with the
	// text. Conversation is the conversation of the message or text, or the space of the role; 0 for
	// the other kinds.
	ID           ID
	Conversation ID
	Slot         Slot
	// Key is its position among all sealed contents. A message and its note have the same position.
	Key SealedKey
	// Erased is the state of the erased message that the content belonged to, 0 if it was not
	// erased. An erased attachment counts as expired. The key of erased content should be shredded.
	Erased State
	// Doomed is set if its key is about to be shredded; never with [SealedKeys].
	Doomed bool
	// Err is the reason why it cannot be unsealed: a [ShreddedError], [ErrNoKey], or an error for
	// damaged content. For erased content nil means that its key still exists.
	Err error
}

// SealedKey is a position among all sealed contents: a part of the store, and an id in that part.
// The zero SealedKey is before the first.
type SealedKey struct {
	Part int
	ID   ID
}

// SealedPage is a page of sealed contents. Next is nil at the end.
type SealedPage struct {
	Items []Sealed
	Next  *SealedKey
}

// before returns the position before this one.
func (s Sealed) before() SealedKey { return SealedKey{Part: s.Key.Part, ID: s.Key.ID - 1} }

// Finding is what is wrong with a sealed content.
type Finding uint8

// The findings.
const (
	// Fine: it was not erased and can be unsealed, or was erased and cannot be unsealed, or was
	// erased and its key is about to be shredded.
	Fine Finding = iota
	// FoundErased: its key is shredded and it is not erased. It was erased after the data
	// was copied.
	FoundErased
	// FoundLost: its key never existed in these keys, which are older than the data.
	FoundLost
	// FoundDamaged: it has a key and cannot be unsealed with it.
	FoundDamaged
	// FoundKey: it was erased and its key still exists.
	FoundKey
	// FoundNoFile: it is an attachment whose file is missing.
	FoundNoFile
)

// Find returns what is wrong with the content. It does not look for files, so it never returns
// FoundNoFile.
func (s Sealed) Find() Finding {
	switch {
	case s.Erased != 0 && s.Err == nil && !s.Doomed:
		return FoundKey
	case s.Erased != 0 || s.Err == nil:
		return Fine
	case errors.As(s.Err, new(*ShreddedError)):
		return FoundErased
	case errors.Is(s.Err, ErrNoKey):
		return FoundLost
	default:
		return FoundDamaged
	}
}

// LostKeysError is returned if contents cannot be unsealed because the keys are older than the
// data.
type LostKeysError struct{ Lost int64 }

// Error returns the number and what an operator can do about it.
func (e *LostKeysError) Error() string {
	return fmt.Sprintf("the keys are older than the data: the keys of %d messages and names are missing. "+
		"Put the newest copy of the keys in place. With --accept-lost-keys these messages and names are lost forever", e.Lost)
}

// Found counts the findings of [KeysFit].
type Found struct {
	// Checked is the number of sealed contents.
	Checked int64
	// Erased and Lost are the numbers with the findings FoundErased and FoundLost.
	Erased, Lost int64
}

// KeysFit checks whether the key of each sealed content exists, and counts the findings. It
// also returns the slots of the contents that were not erased. end is the slot after the
// last slot; progress may be nil. Any error is from the reader, or the context's cause.
func KeysFit(ctx context.Context, r Reader, end Slot, progress func(Progress)) (found Found, named *SlotSet, err error) {
	named = newSlotSet(end)
	total, err := r.CountMessages()
	if err != nil {
		return found, nil, err
	}
	err = eachSealed(ctx, func(page func(Reader) error) error { return page(r) }, SealedKeys, func(s Sealed) error {
		found.Checked++
		if s.Erased == 0 {
			named.add(s.Slot)
		}
		switch s.Find() {
		case FoundErased:
			found.Erased++
		case FoundLost:
			found.Lost++
		default: // nothing that reconciling changes
		}
		if progress != nil && found.Checked%sealedPage == 0 {
			progress(Progress{Done: min(found.Checked, total), Total: total})
		}
		return nil
	})
	return found, named, err
}

// SealedLook selects how [SealedReader.Sealed] checks a content.
type SealedLook bool

const (
	// SealedKeys checks whether its key exists.
	SealedKeys SealedLook = false
	// SealedContent unseals it.
	SealedContent SealedLook = true
)

// sealedPage bounds the sealed contents that one read returns, which keeps the read short.
const sealedPage = 2000

// eachSealed calls fn with every sealed content. in runs a function with a reader for each
// page.
func eachSealed(ctx context.Context, in func(func(Reader) error) error, look SealedLook, fn func(Sealed) error) error {
	for after := (SealedKey{}); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var page SealedPage
		err := in(func(r Reader) (err error) {
			page, err = r.Sealed(after, sealedPage, look)
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			if err := fn(s); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		after = *page.Next
	}
}

// Reconciling is the configuration of [Reconcile].
type Reconciling struct {
	// Keys are the keys of the store. Set Unnamed if they are older than the data: then every key
	// whose slot is not in Named is shredded first, because the copy lacks the erasures that were
	// made after it.
	Keys    Keys
	Unnamed bool
	Named   *SlotSet
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Progress is called with the number of contents checked so far, at most the number of
	// messages; it may be nil.
	Progress func(Progress)
}

// Reconciled counts what [Reconcile] did.
type Reconciled struct {
	// Erased is the number of messages that became tombstones, Removed the number of messages that
	// were deleted without a tombstone, and Emptied the number of notes, texts and secrets of
	// webhooks that were deleted.
	Erased, Removed, Emptied int64
	// Attachments is the number of erased attachments.
	Attachments int64
	// Thumbnails is the number of thumbnails that are made again, or are gone because their
	// attachments were erased.
	Thumbnails int64
	// Shredded is the number of keys that no content named.
	Shredded int64
}

// Reconcile makes the data of a store agree with keys of another age, before the store is
// ready: the data is a restored backup, or the keys are older than the data. A message whose key is
// shredded becomes what its erasure had made of it: a tombstone with the state recorded with the
// key, or nothing. A message whose key never existed expires. Other contents without a key are
// deleted, and thumbnails made again. If erased content still has its key, the key is shredded
// after the commit. Damaged content stays. Each new tombstone appends the usual event. Reconcile
// may be interrupted and called again. Any error is from the store or the keys, or the context's
// cause.
func Reconcile(ctx context.Context, store Store, how Reconciling) (Reconciled, error) {
	ctx = WithCaller(AtStart(ctx), Caller{Job: "reconcile"})
	r := reconciler{Service: NewService(store, DefaultPolicy(), how.Now), how: how}
	if how.Unnamed {
		if err := r.shredUnnamed(ctx); err != nil {
			return r.done, err
		}
	}
	return r.done, r.run(ctx)
}

type reconciler struct {
	*Service
	how  Reconciling
	done Reconciled
}

// shredUnnamed shreds the keys that no content names.
func (r *reconciler) shredUnnamed(ctx context.Context) error {
	for after := Slot(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		live, err := r.how.Keys.Live(after, sealedPage)
		if err != nil || len(live) == 0 {
			return err
		}
		after = live[len(live)-1]
		var list []Shredding
		for _, s := range live {
			if !r.how.Named.has(s) {
				list = append(list, Shredding{Slot: s, Code: ShredRemoved})
			}
		}
		if len(list) == 0 {
			continue
		}
		if err := r.how.Keys.Shred(list); err != nil {
			return err
		}
		r.done.Shredded += int64(len(list))
	}
}

// reconcileBatch is the number of contents that one transaction changes.
const reconcileBatch = 200

// run settles every sealed content that is neither fine nor damaged.
func (r *reconciler) run(ctx context.Context) error {
	total, err := view(ctx, r.Service, Reader.CountMessages)
	if err != nil {
		return err
	}
	var batch []Sealed
	checked := int64(0)
	flush := func() error {
		list := batch
		batch = batch[:0]
		if len(list) == 0 {
			return nil
		}
		return r.settle(ctx, list)
	}
	err = eachSealed(ctx, func(page func(Reader) error) error { return r.store.View(ctx, page) }, SealedKeys, func(s Sealed) error {
		checked++
		if r.how.Progress != nil && checked%sealedPage == 0 {
			r.how.Progress(Progress{Done: min(checked, total), Total: total})
		}
		if f := s.Find(); f == Fine || f == FoundDamaged {
			return nil
		}
		batch = append(batch, s)
		if len(batch) < reconcileBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// settle makes contents agree with their keys, in one transaction; see [Reconcile].
func (r *reconciler) settle(ctx context.Context, list []Sealed) error {
	done, err := write(ctx, r.Service, func(tx Tx) (Reconciled, error) {
		var done Reconciled
		removed := make(map[ID][]ID) // by conversation
		var order []ID
		for _, s := range list {
			state, stays := s.settled()
			var err error
			switch {
			case s.Find() == FoundKey:
				err = tx.Doom(s)
			case s.Kind == SealedAttachment:
				err = tx.EraseAttachment(s.ID)
				done.Attachments++
			case s.Kind == SealedThumbnail:
				// The thumbnail is made again.
				err = tx.UpdateThumbnail(Thumbnail{Attachment: s.ID, State: ThumbnailWaiting})
				if errors.Is(err, ErrNotFound) {
					err = nil // erasing its attachment has erased it, too
				}
				done.Thumbnails++
			case s.Kind != SealedMessage:
				err = tx.Empty(s)
				done.Emptied++
			case !stays:
				if removed[s.Conversation] == nil {
					order = append(order, s.Conversation)
				}
				removed[s.Conversation] = append(removed[s.Conversation], s.ID)
				done.Removed++
			default:
				var m Message
				if m, err = tx.MessageShell(s.ID); err == nil {
					_, err = r.erase(tx, m, Erasure{State: state, At: r.time()}, Event{})
				}
				done.Erased++
			}
			if err != nil {
				return done, err
			}
		}
		for _, id := range order {
			active, err := tx.Remove(id, removed[id], r.time())
			if err == nil {
				err = r.lessInThread(tx, Actor{}, id, active)
			}
			if err != nil {
				return done, err
			}
		}
		return done, nil
	})
	r.done.Erased += done.Erased
	r.done.Removed += done.Removed
	r.done.Emptied += done.Emptied
	r.done.Attachments += done.Attachments
	r.done.Thumbnails += done.Thumbnails
	return err
}

// settled returns the state of the tombstone that a message becomes if its key is shredded; false
// if it leaves none. If its key never existed, the reason is unknown and the message expires.
func (s Sealed) settled() (state State, stays bool) {
	if gone := (*ShreddedError)(nil); errors.As(s.Err, &gone) {
		return gone.Code.State()
	}
	return Expired, true
}
