// Package disktest simulates a disk that can fill up, fail and lose power. Everything that
// SQLite and a key file write to a directory passes through it. Unsynced writes can then be lost
// completely or in part, as on a real disk.
//
//	disk.go   a directory whose writes are recorded and may fail
//	power.go  the content of the disk after a power cut
//	vfs.go    the file system that SQLite writes through, with vfs.c and vfs.h
package disktest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Kind is the kind of an operation on a file.
type Kind int

// The kinds of an [Op].
const (
	Write Kind = iota
	Truncate
	Sync
	Remove
	Mark
)

// Op is an operation on a file, or a mark.
type Op struct {
	Kind Kind
	// Name is the file's name within the directory of the disk.
	Name string
	// At is the offset of a write, or the size after a truncation.
	At   int64
	Data []byte
	// Mark is the argument of [Disk.Mark].
	Mark any
}

// Disk is a directory on a simulated disk. It is safe for concurrent use.
type Disk struct {
	dir string

	mu   sync.Mutex
	ops  []Op
	fail func(Op) error
}

// New makes a directory a simulated disk until the test ends. Its present files count as
// synced. From then on SQLite opens all files through this package, which passes files in other
// directories through unchanged.
func New(t testing.TB, dir string) *Disk {
	t.Helper()
	register()
	d := &Disk{dir: dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := d.importFile(entry.Name()); err != nil {
			t.Fatal(err)
		}
	}
	disks.mu.Lock()
	defer disks.mu.Unlock()
	disks.list = append(disks.list, d)
	t.Cleanup(func() {
		disks.mu.Lock()
		defer disks.mu.Unlock()
		for i := range disks.list {
			if disks.list[i] == d {
				disks.list = append(disks.list[:i], disks.list[i+1:]...)
				break
			}
		}
	})
	return d
}

// importFile puts a file on the disk that was not written through it.
func (d *Disk) importFile(name string) error {
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return err
	}
	return errors.Join(d.do(Op{Kind: Write, Name: name, Data: b}), d.do(Op{Kind: Sync, Name: name}))
}

// Fail calls fn before each write, truncation and sync, which fails with the error that fn returns;
// syscall.ENOSPC simulates a full disk. fn must not use the disk. A nil fn ends the failures.
func (d *Disk) Fail(fn func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fn
}

// Mark records a mark among the operations.
func (d *Disk) Mark(v any) { _ = d.do(Op{Kind: Mark, Mark: v}) }

// Ops returns the operations so far.
func (d *Disk) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clip(d.ops)
}

func (d *Disk) do(op Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil && op.Kind <= Sync {
		if err := d.fail(op); err != nil {
			return err
		}
	}
	d.ops = append(d.ops, op)
	return nil
}

// File is a file of the disk as package keyring uses one.
type File struct {
	disk *Disk
	name string
	file *os.File
}

// OpenFile opens an existing file, whose present content then counts as synced.
func (d *Disk) OpenFile(name string) (*File, error) {
	if err := d.importFile(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &File{disk: d, name: name, file: f}, nil
}

// ReadAt is like os.File.ReadAt.
func (f *File) ReadAt(b []byte, off int64) (int, error) { return f.file.ReadAt(b, off) }

// WriteAt is like os.File.WriteAt.
func (f *File) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.do(Op{Kind: Write, Name: f.name, At: off, Data: append([]byte(nil), b...)}); err != nil {
		return 0, err
	}
	return f.file.WriteAt(b, off)
}

// Sync makes all writes durable.
func (f *File) Sync() error { return f.disk.do(Op{Kind: Sync, Name: f.name}) }

// Punch makes a hole of zeros.
func (f *File) Punch(off, n int64) error {
	_, err := f.WriteAt(make([]byte, n), off)
	return err
}

// Size returns the length of the file in bytes.
func (f *File) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// disks holds the disks in use, and the files that SQLite has opened on any disk.
var disks struct {
	mu    sync.Mutex
	list  []*Disk
	files []onDisk
}

type onDisk struct {
	disk *Disk
	name string
}

// find returns the disk and the name of the file at a path; false if the path is on no disk. The
// caller holds disks.mu.
func find(path string) (onDisk, bool) {
	for _, d := range disks.list {
		if name, ok := strings.CutPrefix(path, d.dir+string(filepath.Separator)); ok {
			return onDisk{d, name}, true
		}
	}
	return onDisk{}, false
}

// numberOf assigns a number to a file that SQLite opens. It is 0 if the file is on no disk.
func numberOf(path string) int {
	disks.mu.Lock()
	defer disks.mu.Unlock()
	f, ok := find(path)
	if !ok {
		return 0
	}
	disks.files = append(disks.files, f)
	return len(disks.files)
}

func byNumber(n int) onDisk {
	disks.mu.Lock()
	defer disks.mu.Unlock()
	return disks.files[n-1]
}

func remove(path string) {
	disks.mu.Lock()
	f, ok := find(path)
	disks.mu.Unlock()
	if ok {
		_ = f.disk.do(Op{Kind: Remove, Name: f.name})
	}
}

// write creates a directory with files.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
