package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imapi/imapi/storage"
)

// leastSpace and littleSpace are bytes of free disk space below which the doctor fails and
// warns.
const (
	leastSpace  = 64 << 20
	littleSpace = 1 << 30
)

// slowSync is the duration of an fsync above which sends are slow.
const slowSync = 20 * time.Millisecond

// checkDirectory checks the data directory: its permissions, its file system and its disk.
func (d *doctorFlags) checkDirectory(r *report) {
	info, err := os.Stat(d.data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.warn("directory", d.data+" does not exist yet", "imapi serve creates it; if it is elsewhere, name it with --data")
		return
	case err != nil:
		r.fail("directory", err.Error(), "the user that runs imapi must be able to read and write --data")
		return
	case !info.IsDir():
		r.fail("directory", d.data+" is not a directory", "name a directory with --data")
		return
	}
	failed := r.failed
	d.checkPermissions(r, info)
	took, err := syncTime(d.data)
	if err != nil {
		r.fail("directory", fmt.Sprintf("no file can be written: %v", err), "the user that runs imapi must own --data, and the disk must have space")
		return
	}
	if r.failed == failed {
		r.ok("directory", "%s can be written", d.data)
	}
	d.checkDisk(r, took)
}

// checkPermissions warns if other users have any permission on the directory or on its files.
func (d *doctorFlags) checkPermissions(r *report, dir fs.FileInfo) {
	open := func(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
	if open(dir) {
		r.warn("directory", fmt.Sprintf("others may enter %s, which has the mode %04o", d.data, dir.Mode().Perm()), "chmod 700 "+d.data)
	}
	var exposed []string
	for _, name := range []string{secretFile, controlName, "imapi.db", "imapi.db-wal", "keys", "search.db"} {
		path := filepath.Join(d.data, name)
		if info, err := os.Stat(path); err == nil && open(info) {
			exposed = append(exposed, path)
		}
	}
	if len(exposed) > 0 {
		r.warn("directory", "others may read "+strings.Join(exposed, ", "), "chmod 600 "+strings.Join(exposed, " "))
	}
}

// syncTime returns the median duration of a write of 4 KiB to a new file in dir, with fsync.
func syncTime(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "doctor.*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	var times []time.Duration
	for range 15 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// checkDisk checks the file system, the free space and the duration of an fsync.
func (d *doctorFlags) checkDisk(r *report, sync time.Duration) {
	failed := r.failed
	disk, err := statDisk(d.data)
	if err == nil {
		switch disk.kind {
		case networkDisk:
			r.fail("disk", d.data+" is on a network file system, on which the database's log does not work", "move it to a local disk")
		case memoryDisk:
			r.warn("disk", d.data+" is in memory: nothing survives a restart of the machine", "move it to a disk")
		case containerDisk:
			r.warn("disk", d.data+" is in the container's own file system, which is deleted with the container", "mount a volume there")
		case localDisk:
		}
		switch {
		case disk.free < leastSpace:
			r.fail("disk", fmt.Sprintf("%s of space is left", megabytes(disk.free)), "free some space; sends are refused with 507 when the disk is full")
		case disk.free < littleSpace:
			r.warn("disk", fmt.Sprintf("%s of space is left", megabytes(disk.free)), "free some space; sends are refused with 507 when the disk is full")
		}
	}
	if sync > slowSync {
		r.warn("disk", fmt.Sprintf("fsync takes %v", sync.Round(time.Millisecond)), "every send waits for it; use an SSD, or --synchronous normal if a power cut may lose answered messages")
	}
	switch {
	case r.failed > failed:
	case err != nil:
		r.ok("disk", "fsync takes %v; the free space is unknown: %v", sync.Round(10*time.Microsecond), err)
	default:
		r.ok("disk", "%s of space is left; fsync takes %v", megabytes(disk.free), sync.Round(10*time.Microsecond))
	}
}

func megabytes(bytes uint64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

// diskKind is the kind of a file system.
type diskKind int

const (
	localDisk diskKind = iota
	networkDisk
	memoryDisk
	containerDisk
)

// disk describes a file system.
type disk struct {
	kind diskKind
	free uint64 // bytes that this user may still write
}

// checkDatabase checks that the database opens and agrees with its keys, and reports whether
// a server runs on it. A database that the next start of serve would migrate is not opened, and
// checkDatabase then returns false without looking for a server.
func (d *doctorFlags) checkDatabase(ctx context.Context, r *report) (running bool) {
	const check = "database"
	there, err := storage.Exists(d.database, d.data)
	switch {
	case err != nil:
		r.fail(check, err.Error(), "correct --database")
		return false
	case !there:
		r.skip(check, "there is none; the first start of imapi serve creates it")
		return false
	}
	have, newest, err := storage.Versions(d.database, d.data)
	switch {
	case err != nil:
		r.fail(check, err.Error(), "name the right directory with --data, or restore a backup")
		return false
	case have > newest:
		r.fail(check, fmt.Sprintf("the schema has version %d, made by a newer imapi; this one supports up to %d", have, newest), "run the newer version, or restore an earlier backup")
		return false
	}
	a := adminFlags{data: d.data, database: d.database, keys: d.keys, blobs: d.blobs, wait: serverWait}
	if have > 0 && have < newest {
		r.warn(check, fmt.Sprintf("the schema has version %d, which serve migrates to %d; it was not opened", have, newest), "make a backup first")
		return false
	}
	server, err := a.open(ctx)
	if err != nil {
		r.fail(check, err.Error(), "see docs/operations.md about backups, lost keys and the data directory")
		return false
	}
	defer server.close()
	if server.local == nil {
		r.ok(check, "version %d of the schema; a server, imapi %s, runs on it", have, server.Version)
		if server.Version != version {
			r.warn(check, fmt.Sprintf("the server is imapi %s, and this is %s", server.Version, version), "restart the server after an upgrade")
		}
		return true
	}
	r.ok(check, "version %d of the schema; it opens, and the keys belong to the data; imapi verify checks each message", have)
	return false
}
