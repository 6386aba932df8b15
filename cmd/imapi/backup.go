package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage"
)

const backupSummary = `Copy the data into DIR, with or without a running server, and print the path of the copy.
The copy of the database, DIR/imapi-TIME.db, may be kept forever, because what is erased
later cannot be read in it. The copy of the keys, DIR/keys, replaces the previous one.
The sealed files of attachments that DIR/blobs lacks are copied there.`

// runBackup makes a backup.
func runBackup(ctx context.Context, args []string, out, diag io.Writer) error {
	var a adminFlags
	f := newFlagsWithFiles("backup", "DIR", backupSummary, diag)
	a.add(f)
	dirs, err := f.parseWithFiles(args)
	if err != nil {
		return err
	}
	if len(dirs) != 1 || dirs[0] == "" {
		return misuse("name one DIR")
	}
	dir, err := filepath.Abs(dirs[0]) // the server may have another working directory
	if err != nil {
		return err
	}
	return a.run(ctx, func(server *admin) error {
		began := time.Now()
		var done backedUp
		bar := newCount(diag, "bytes")
		if err := server.job(ctx, "backup", map[string]string{"dir": dir}, bar, nil, &done); err != nil {
			return whatIsLeft(ctx, err, "the backup is not complete; run it again")
		}
		if done.Files > 0 {
			bar.printf("attachments: %d new files, %.1f MB\n", done.Files, float64(done.FileBytes)/1e6)
		}
		bar.printf("database: %.1f MB; the backup took %v\n", float64(done.Bytes)/1e6, time.Since(began).Round(time.Millisecond))
		_, err := fmt.Fprintln(out, done.Path)
		return err
	})
}

// run opens the server and calls fn with it.
func (a *adminFlags) run(ctx context.Context, fn func(*admin) error) error {
	if err := a.check(); err != nil {
		return err
	}
	server, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer server.close()
	return fn(server)
}

const verifySummary = `Check that every message, postscript, name, attachment and thumbnail that was not erased
can be unsealed, and that what was erased cannot, with or without a running server.
Nothing is repaired. Print one line for each problem, and a total. With problems the exit
status is 1.`

// runVerify checks all sealed content.
func runVerify(ctx context.Context, args []string, out, diag io.Writer) error {
	var a adminFlags
	f := newFlags("verify", verifySummary, diag)
	a.add(f)
	if err := f.parse(args); err != nil {
		return err
	}
	return a.run(ctx, func(server *admin) error {
		var done im.Verified
		err := server.job(ctx, "verify", nil, newCount(diag, "messages"), func(p jobProblem) error {
			_, err := fmt.Fprintf(out, "%s\t%s\t%s\n", p.Kind, p.ID, p.Text)
			return err
		}, &done)
		if err != nil {
			return whatIsLeft(ctx, err, "not everything was checked")
		}
		if _, err := fmt.Fprintf(out, "total\t%d readable, %d erased, %d keys waiting to be shredded, %d problems\n",
			done.Active, done.Erased, done.Waiting, done.Problems); err != nil {
			return err
		}
		if done.Problems > 0 {
			return fmt.Errorf("%d problems were found", done.Problems)
		}
		return nil
	})
}

const reindexSummary = `Rebuild the search index from the messages, with or without a running server. The server
rebuilds an index that is missing or damaged by itself; use this command if searches do
not find what they should.`

// runReindex rebuilds the search index.
func runReindex(ctx context.Context, args []string, _, diag io.Writer) error {
	var a adminFlags
	f := newFlags("reindex", reindexSummary, diag)
	a.add(f)
	if err := f.parse(args); err != nil {
		return err
	}
	return a.run(ctx, func(server *admin) error {
		began := time.Now()
		bar := newCount(diag, "messages")
		if err := server.job(ctx, "reindex", nil, bar, nil, &struct{}{}); err != nil {
			return whatIsLeft(ctx, err, "a running server goes on with it; without one, run it again")
		}
		bar.printf("%d messages in %v\n", bar.done.Load(), time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// acceptLostKeys describes the flag of that name.
const acceptLostKeys = "continue although keys are missing because the key file is older than the data, or lost: content sealed under them is lost for good"

const restoreSummary = `Put the backup FILE in place of the data, under the present keys: what was erased since
the backup was made stays erased. No server may run. The present database is kept beside
it under another name. On a new machine, name the copy of the keys beside the backups
with --keys-from. Files of attachments that are missing or truncated are copied from the
directory blobs beside FILE.`

// runRestore restores a backup.
func runRestore(ctx context.Context, args []string, out, diag io.Writer) error {
	f := newFlagsWithFiles("restore", "FILE", restoreSummary, diag)
	data := f.String("data", "./data", "the `directory` of the server's data")
	database := f.String("database", "", "the `URL` of the database, as for serve")
	keys := f.String("keys", "", "the `file` of the keys, as for serve")
	blobsDir := f.String("blobs", "", "the `directory` of attachments, as for serve")
	keysFrom := f.String("keys-from", "", "a `file` with a copy of the keys to install if there are none, or older ones")
	accept := f.Bool("accept-lost-keys", false, acceptLostKeys)
	files, err := f.parseWithFiles(args)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return misuse("name one FILE")
	}
	options := storage.Options{
		DataDir: *data, Keys: *keys, AcceptLostKeys: *accept, ReadLimit: time.Minute, Logger: slog.New(slog.DiscardHandler),
	}
	bar := newCount(diag, "bytes")
	stop := bar.run()
	replaced, err := storage.Restore(ctx, *database, options, storage.Restoring{
		File: files[0], KeysFrom: *keysFrom, AcceptLostKeys: *accept,
		Progress: func(p im.Progress) { bar.at(p.Done, p.Total) },
	})
	stop()
	if errors.Is(err, storage.ErrInUse) {
		return fmt.Errorf("%w: stop the server first", err)
	}
	if err != nil {
		return whatIsLeft(ctx, err, "the data was not changed")
	}
	if replaced != "" {
		bar.printf("the replaced database is now %s\n", replaced)
	}
	// Reconcile with the keys now. A server would do it at its next start.
	var done im.Reconciled
	bar = newCount(diag, "keys")
	options.Progress = func(p im.Progress) { bar.at(p.Done, p.Total) }
	options.Reconciled = func(r im.Reconciled) { done = r }
	stop = bar.run()
	store, err := storage.Open(ctx, *database, options)
	stop()
	if err != nil {
		const left = "the backup is in place but not reconciled with the keys yet; the next start will do that"
		return whatIsLeft(ctx, fmt.Errorf("%s: %w", left, err), left)
	}
	copied, err := restoreBlobs(ctx, store, files[0], blobsIn(*blobsDir, *data))
	if err = errors.Join(err, store.Close()); err != nil {
		const left = "the backup is in place, but not all files of attachments are; repeat this command"
		return whatIsLeft(ctx, fmt.Errorf("%s: %w", left, err), left)
	}
	if copied.Files > 0 {
		bar.printf("%d missing or truncated files of attachments were restored\n", copied.Files)
	}
	_, err = fmt.Fprintf(out, "restored\t%d messages erased since, %d removed, %d names and postscripts emptied\n", done.Erased, done.Removed, done.Emptied)
	return err
}
