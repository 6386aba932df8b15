package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	endian "encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The decryptor reads sealed content with the help of docs/erasure.md only, and shares no code with
// the server. So it shows that the document is complete, and what an attacker with the files can
// do.

// keyFile is a copy of a key file.
type keyFile struct {
	store [16]byte
	b     []byte
}

func readKeyFile(path string) (keyFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return keyFile{}, err
	}
	k := keyFile{b: b}
	switch {
	case len(b) < 4096 || string(b[:8]) != "imapikey" || endian.BigEndian.Uint32(b[8:]) != 1:
		return k, errors.New("not a key file of version 1")
	case endian.BigEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)):
		return k, errors.New("the header's checksum does not fit")
	}
	copy(k.store[:], b[12:])
	return k, nil
}

// key returns the key in a slot, if there is one.
func (k keyFile) key(slot int64) ([]byte, bool) {
	if slot < 256 || (slot+1)*16 > int64(len(k.b)) {
		return nil, false
	}
	key := k.b[slot*16 : slot*16+16]
	return key, !bytes.Equal(key[:15], make([]byte, 15))
}

// sealedContent is sealed content that was found.
type sealedContent struct {
	where string
	slot  int64
	bytes string
}

// unseal reads sealed content, if its key is there.
func (k keyFile) unseal(s sealedContent) ([]byte, bool) {
	key, ok := k.key(s.slot)
	if !ok {
		return nil, false
	}
	return k.unsealWith(key, s)
}

func (k keyFile) unsealWith(key []byte, s sealedContent) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 16 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	if s.where == inFile {
		return unsealFile(gcm, []byte(s.bytes))
	}
	content, err := gcm.Open(nil, make([]byte, 12), []byte(s.bytes), endian.BigEndian.AppendUint64(k.store[:len(k.store):len(k.store)], uint64(s.slot)))
	return content, err == nil
}

// inFile is the value of sealedContent.where for content in the file of an attachment or thumbnail.
const inFile = "a file"

// unsealFile reads the chunks of a file, as far as they can be unsealed.
func unsealFile(gcm cipher.AEAD, file []byte) (content []byte, ok bool) {
	bound, chunks := file[16:48], file[64:]
	for n := uint32(0); ; n++ {
		last := len(chunks) <= 65536+16
		nonce := make([]byte, 12)
		nonce[0] = 1
		endian.BigEndian.PutUint32(nonce[7:], n)
		if last {
			nonce[11] = 1
		}
		chunk, err := gcm.Open(nil, nonce, chunks[:min(65536+16, len(chunks))], bound)
		if err != nil {
			return content, n > 0 // truncated if at least one chunk could be read
		}
		content = append(content, chunk...)
		if last {
			return content, true
		}
		chunks = chunks[65536+16:]
	}
}

// readFiles calls found with every file of an attachment or thumbnail in a copy of the data
// directory, including those that were being written.
func readFiles(data string, found func(sealedContent)) error {
	return filepath.WalkDir(filepath.Join(data, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && len(b) > 64 && string(b[:8]) == "imapblob" && endian.BigEndian.Uint32(b[8:]) == 1 {
			found(sealedContent{inFile, int64(endian.BigEndian.Uint64(b[32:])), string(b)})
		}
		return err
	})
}

// sealedColumns returns a query of slots and bytes for each column with sealed content.
func sealedColumns(t *testing.T) map[string]string {
	t.Helper()
	queries := make(map[string]string)
	for sealed, cells := range table(t, readDoc(t, "docs/erasure.md"), "sealed") {
		from, column, _ := strings.Cut(sealed, ".")
		_, slot, _ := strings.Cut(cells[0], ".")
		queries[sealed] = fmt.Sprintf("SELECT %s, %s FROM %s WHERE %[2]s IS NOT NULL", slot, column, from)
	}
	return queries
}

// readSealed calls found with everything sealed in a copy of a database. It opens the copy
// for writing, so that SQLite reads the write-ahead log.
func readSealed(path string, queries map[string]string, found func(sealedContent)) error {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	for where, query := range queries {
		if err := readColumn(db, where, query, found); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

func readColumn(db *sql.DB, where, query string, found func(sealedContent)) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			slot   int64
			sealed []byte
		)
		if err := rows.Scan(&slot, &sealed); err != nil {
			return err
		}
		found(sealedContent{where, slot, string(sealed)})
	}
	return rows.Err()
}

// copyFiles copies all files below a directory except some, and calls each with their content.
func copyFiles(from, to string, without []string, each func(name string, b []byte)) error {
	entries, err := os.ReadDir(from) // sorted: the database before its log
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
next:
	for _, entry := range entries {
		for _, name := range without {
			if entry.Name() == name {
				continue next
			}
		}
		path := filepath.Join(to, entry.Name())
		if entry.IsDir() {
			if err := copyFiles(filepath.Join(from, entry.Name()), path, without, each); err != nil {
				return err
			}
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // it was deleted in the meantime
		}
		if err != nil {
			return err
		}
		each(entry.Name(), b)
		if strings.HasSuffix(entry.Name(), "-shm") {
			continue // belongs to the process that has it open
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
