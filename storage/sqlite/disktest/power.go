package disktest

import "math/rand/v2"

// sector is the number of bytes that a disk writes atomically.
const sector = 512

// Loss selects the unsynced writes that a power cut loses.
type Loss int

// A power cut loses all unsynced writes, a random part of their sectors, or none.
const (
	All Loss = iota
	Some
	None
)

// Replay replays the operations on a disk and makes images of it.
type Replay struct {
	ops   []Op
	next  int
	files map[string]*image
	marks []any
}

type image struct {
	durable []byte
	pending []Op // since the last sync
}

// Replay returns a replay of the operations so far, at its start.
func (d *Disk) Replay() *Replay { return &Replay{ops: d.Ops(), files: map[string]*image{}} }

// Len returns the number of operations.
func (r *Replay) Len() int { return len(r.ops) }

// Done returns the number of operations that were replayed.
func (r *Replay) Done() int { return r.next }

// To replays operations until n are done.
func (r *Replay) To(n int) {
	for ; r.next < n; r.next++ {
		op := r.ops[r.next]
		if op.Kind == Mark {
			r.marks = append(r.marks, op.Mark)
			continue
		}
		f := r.files[op.Name]
		if f == nil {
			f = &image{}
			r.files[op.Name] = f
		}
		switch op.Kind {
		case Remove:
			delete(r.files, op.Name)
		case Sync:
			for _, p := range f.pending {
				f.durable = p.apply(f.durable)
			}
			f.pending = nil
		default:
			f.pending = append(f.pending, op)
		}
	}
}

// Marks returns the marks so far.
func (r *Replay) Marks() []any { return r.marks }

// Cut writes the content of the disk after a power cut at this point into a directory.
func (r *Replay) Cut(dir string, loss Loss, random *rand.Rand) error {
	files := map[string][]byte{}
	for name, f := range r.files {
		b := append([]byte(nil), f.durable...)
		for _, op := range f.pending {
			switch {
			case loss == All:
			case loss == None:
				b = op.apply(b)
			case op.Kind == Truncate:
				if random.IntN(2) == 0 {
					b = op.apply(b)
				}
			default:
				for _, part := range op.sectors() {
					if random.IntN(2) == 0 {
						b = part.apply(b)
					}
				}
			}
		}
		files[name] = b
	}
	return write(dir, files)
}

// apply returns a file's content after a write or a truncation.
func (op Op) apply(b []byte) []byte {
	to := op.At + int64(len(op.Data))
	if n := to - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	if op.Kind == Truncate {
		return b[:op.At]
	}
	copy(b[op.At:], op.Data)
	return b
}

// sectors splits a write at sector boundaries.
func (op Op) sectors() (parts []Op) {
	for at, b := op.At, op.Data; len(b) > 0; {
		n := min(int64(len(b)), sector-at%sector)
		parts = append(parts, Op{Kind: Write, At: at, Data: b[:n]})
		at, b = at+n, b[n:]
	}
	return parts
}
