package im

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SealedKind says what it is that was sealed.
type SealedKind uint8

// What is sealed under keys of its own.
const (
	// SealedMessage is what a message says.
	SealedMessage SealedKind = iota + 1
	// SealedNote is what who revoked a message left in its place.
	SealedNote
	// SealedName is a name or another text of a conversation.
	SealedName
)

var sealedNames = names[SealedKind]{SealedMessage: "message", SealedNote: "postscript", SealedName: "name"}

// String returns the name of the kind.
func (k SealedKind) String() string { return sealedNames[k] }

// Sealed is something that was sealed, and whether it can be read.
type Sealed struct {
	Kind SealedKind
	// ID is that of the message, or of the conversation or role whose name it is;
	// Conversation is where it is.
	ID           ID
	Conversation ID
	Slot         Slot
	// Key is where it is among all that was sealed; a message and its postscript are at
	// one place.
	Key SealedKey
	// Erased says how it was erased, 0 if it was not. What was erased should have no key.
	Erased State
	// Doomed says that its key is about to be shredded. It is not looked for with
	// [SealedKeys].
	Doomed bool
	// Err is why it cannot be read: a [ShreddedError], [ErrNoKey], or that it is damaged.
	// Of what was erased nil says that its key is still there.
	Err error
}

// SealedKey is a place among all that was sealed: in which part, of those that the store
// has it in, and by id there. The zero one is before the first.
type SealedKey struct {
	Part int
	ID   ID
}

// SealedPage is a stretch of it. Next is nil at the end.
type SealedPage struct {
	Items []Sealed
	Next  *SealedKey
}

// before is a place such that this one comes next.
func (s Sealed) before() SealedKey { return SealedKey{Part: s.Key.Part, ID: s.Key.ID - 1} }

// Finding is what is wrong with something that was sealed.
type Finding uint8

// The findings.
const (
	// Fine is what can be read and was not erased, or was erased and cannot.
	Fine Finding = iota
	// FoundErased is what the data have and the keys have not: it was erased after the
	// data were copied.
	FoundErased
	// FoundLost is what was sealed under a key that the keys never had: they are older.
	FoundLost
	// FoundDamaged is what has a key that does not fit.
	FoundDamaged
	// FoundKey is what was erased and has its key still.
	FoundKey
)

// Find says what is wrong with it.
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

// LostKeysError says how much cannot be read any more, as the keys are older than the
// data.
type LostKeysError struct{ Lost int64 }

// Error says what can be done about it.
func (e *LostKeysError) Error() string {
	return fmt.Sprintf("the keys are older than the data: those of %d messages and names are missing. "+
		"Put the newest copy of the keys in place, or give --accept-lost-keys, and they are gone for good", e.Lost)
}

// Found counts what a look at everything that was sealed has found.
type Found struct {
	// Checked is how much was looked at.
	Checked int64
	// Erased can be read no more, for it was erased after the data were copied; Lost, for
	// the keys never had its key.
	Erased, Lost int64
}

// KeysFit looks at the keys of all that was sealed, and counts what does not fit. It
// returns which slots are named by what was not erased; progress may be nil.
func KeysFit(ctx context.Context, r Reader, end Slot, progress func(Progress)) (found Found, named *SlotSet, err error) {
	named = NewSlotSet(end)
	total, err := r.CountMessages()
	if err != nil {
		return found, nil, err
	}
	err = eachSealed(ctx, func(page func(Reader) error) error { return page(r) }, SealedKeys, func(s Sealed) error {
		found.Checked++
		if s.Erased == 0 {
			named.Add(s.Slot)
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

// SealedLook says how closely [SealedReader.Sealed] looks.
type SealedLook bool

const (
	// SealedKeys looks whether there is a key.
	SealedKeys SealedLook = false
	// SealedContent unseals what there is.
	SealedContent SealedLook = true
)

// sealedPage is how much of what was sealed one read looks at, for it to be short.
const sealedPage = 2000

// eachSealed calls fn with everything that was sealed. in gives it a snapshot for each
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

// Reconciling is what [Reconcile] is told.
type Reconciling struct {
	// Keys are those of the store. Unnamed says that they are older than the data: then
	// all that nothing names is shredded first, for of what was erased since the keys were
	// copied nobody knows any more why.
	Keys    Keys
	Unnamed bool
	Named   *SlotSet
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Progress is told how much was looked at; it may be nil.
	Progress func(Progress)
}

// Reconciled counts what [Reconcile] did.
type Reconciled struct {
	// Erased are messages that became tombstones, Removed those of which nothing is left,
	// and Emptied names and postscripts.
	Erased, Removed, Emptied int64
	// Shredded are keys that nothing named.
	Shredded int64
}

// Reconcile brings a store in line with keys that it did not keep step with, before
// anybody reads it: a restored backup, or keys that are older than the data. What was
// erased since becomes what erasing has made of it: a tombstone of the state that the key
// was shredded with, or, if nothing of it is left, a message that was removed. What lost
// its key otherwise is expired. Each is told of by an event, as any erasure. It can be
// interrupted at any moment, and called again.
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

// shredUnnamed shreds what nothing names.
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
			if !r.how.Named.Has(s) {
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

// reconcileBatch is how much one transaction changes.
const reconcileBatch = 200

// run goes through everything that was sealed.
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

// settle makes of each what erasing has, or would have, made of it.
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
	return err
}

// settled returns the state of the tombstone that a message becomes whose key is not
// there; false if none is left. Of one whose key was never there it is not known why.
func (s Sealed) settled() (state State, stays bool) {
	if gone := (*ShreddedError)(nil); errors.As(s.Err, &gone) {
		return gone.Code.State()
	}
	return Expired, true
}
