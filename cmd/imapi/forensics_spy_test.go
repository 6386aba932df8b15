package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// promise is the time within which a key is shredded after its content was erased.
const promise = 5 * time.Second

// spy copies all files of a server except its keys, as often as it can, and remembers the sealed
// bytes in them. To show that it finds what exists, it also reads the keys: a secret counts as
// known once it was unsealed from a copy.
type spy struct {
	t       *testing.T
	data    string
	dir     string // for copies
	run     marker // a text that all secrets of the run contain
	queries map[string]string

	mu      sync.Mutex
	found   map[sealedContent]bool // whether the content was unsealed
	secrets map[string]*secret     // by their texts
	made    int
	copies  int
	torn    int    // copies that were taken while the database was written to
	heldUp  []span // times in which the watch of the keys was held up

	stop  chan struct{}
	ended sync.WaitGroup
}

// secret is a text in one content.
type secret struct {
	way  string           // of erasing it; "" if it is kept
	keys map[int64][]byte // of its content by slot, once that was found
	// inFile is set if it is also in the file of an attachment, and fromFile once it was
	// unsealed from there.
	inFile, fromFile bool
	// erased is when it was erased, zero if it was not; shredded is when its keys were found to be
	// shredded.
	erased, shredded time.Time
}

func newSpy(t *testing.T, data string) *spy {
	s := &spy{
		t: t, data: data, dir: t.TempDir(), run: newMarker(), queries: sealedColumns(t),
		found: map[sealedContent]bool{}, secrets: map[string]*secret{}, stop: make(chan struct{}),
	}
	s.ended.Go(s.takeCopies)
	s.ended.Go(s.watchKeys)
	t.Cleanup(s.end)
	return s
}

func (s *spy) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.ended.Wait()
}

// secret makes a secret.
func (s *spy) secret(way string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	text := fmt.Sprintf("%sn%05dn", s.run.text, s.made)
	s.secrets[text] = &secret{way: way, keys: map[int64][]byte{}}
	return text
}

// takeCopies takes copies until the spy ends.
func (s *spy) takeCopies() {
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case <-time.After(testsize.Pick(20*time.Millisecond, 100*time.Millisecond)):
		}
		dir := filepath.Join(s.dir, fmt.Sprint(n))
		s.takeCopy(dir)
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	}
}

// takeCopy takes a copy and reads it.
func (s *spy) takeCopy(dir string) {
	err := copyFiles(s.data, dir, []string{"keys"}, func(name string, b []byte) {
		if form := s.run.in(b); form != "" {
			s.t.Errorf("%s has content in the clear, as %s", name, form)
		}
	})
	if err != nil {
		s.t.Errorf("copying: %v", err)
		return
	}
	s.read(dir)
}

// read collects the sealed bytes in a copy of the database and of the files of attachments, and
// unseals them with the current keys.
func (s *spy) read(dir string) {
	keys, noKeys := readKeyFile(filepath.Join(s.data, "keys"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies++
	found := func(c sealedContent) {
		if s.found[c] {
			return
		}
		var content []byte
		if noKeys == nil {
			content, s.found[c] = keys.unseal(c) // false if it has been erased by now
		}
		for _, text := range s.textsIn(content) {
			if secret := s.secrets[text]; secret != nil {
				key, _ := keys.key(c.slot)
				secret.keys[c.slot] = slices.Clone(key)
				secret.fromFile = secret.fromFile || c.where == inFile
			}
		}
	}
	if err := readFiles(dir, found); err != nil {
		s.t.Error(err)
	}
	if readSealed(filepath.Join(dir, "imapi.db"), s.queries, found) != nil {
		s.torn++
	}
}

// textsIn returns the secrets in content.
func (s *spy) textsIn(content []byte) (texts []string) {
	for {
		_, rest, ok := bytes.Cut(content, []byte(s.run.text))
		if !ok || len(rest) < 7 {
			return texts
		}
		texts, content = append(texts, s.run.text+string(rest[:7])), rest[7:]
	}
}

// known reports whether a secret was unsealed from a copy.
func (s *spy) known(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := s.secrets[text]
	return len(secret.keys) > 0 && (secret.fromFile || !secret.inFile)
}

// alsoInFile records that a secret is in the file of an attachment, too.
func (s *spy) alsoInFile(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[text].inFile = true
}

// waitKnown waits until a secret is known.
func (s *spy) waitKnown(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		for began := time.Now(); !s.known(text); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > patience || s.t.Failed() {
				s.t.Errorf("%s was found in no copy", text)
				return
			}
		}
	}
}

// erased records that a secret was erased, and the earliest time at which that can have happened.
func (s *spy) erased(text string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[text].erased = at
}

// watchKeys records when the keys of erased secrets are shredded.
func (s *spy) watchKeys() {
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		keys, err := readKeyFile(filepath.Join(s.data, "keys"))
		now := time.Now()
		s.mu.Lock()
		if now.Sub(last) >= heldUp {
			s.heldUp = append(s.heldUp, span{last, now})
		}
		last = now
		for _, secret := range s.secrets {
			if err == nil && secret.waits() && !secret.readable(keys) {
				secret.shredded = now
			}
		}
		s.mu.Unlock()
	}
}

// heldUp is the time between two looks at the keys from which on they count as held up: a machine
// that delays the watch delays the server, too.
const heldUp = 200 * time.Millisecond

// withoutHoldUps returns the time between two times in which the watch was not held up.
func (s *spy) withoutHoldUps(from, to time.Time) time.Duration {
	took := to.Sub(from)
	for _, h := range s.heldUp {
		if h.end.After(from) && h.begin.Before(to) {
			took -= min(h.end.Sub(h.begin), h.end.Sub(from))
		}
	}
	return took
}

// waits reports whether the secret was erased and its keys existed when they were last checked.
func (s *secret) waits() bool { return !s.erased.IsZero() && s.shredded.IsZero() }

// readable reports whether one of a secret's keys exists.
func (s *secret) readable(keys keyFile) bool {
	for slot := range s.keys {
		if _, ok := keys.key(slot); ok {
			return true
		}
	}
	return false
}

// waiting returns the ways of the erased secrets whose keys still wait.
func (s *spy) waiting() (ways []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if secret.waits() {
			ways = append(ways, secret.way)
		}
	}
	return ways
}

// judge tries to unseal everything that was ever found with the final keys. running is set if the
// server ran all the time, so that the promise of 5 seconds applies.
func (s *spy) judge(late keyFile, running bool) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	read := map[string]bool{}
	var gone []sealedContent
	for c := range s.found {
		content, ok := late.unseal(c)
		if !ok {
			gone = append(gone, c)
			continue
		}
		for _, text := range s.textsIn(content) {
			read[text] = true
		}
	}
	counts := map[string]int{}
	var delays []time.Duration
	kept := 0
	for text, secret := range s.secrets {
		switch {
		case secret.way == "" && !read[text]:
			s.t.Errorf("%s was kept and cannot be read", text)
		case secret.way == "":
			kept++
		case secret.erased.IsZero():
			s.t.Errorf("%s: it was not erased", secret.way)
		case len(secret.keys) == 0 || secret.inFile && !secret.fromFile:
			s.t.Errorf("%s: it was found in no copy", secret.way)
		case read[text]:
			s.t.Errorf("%s: it can be read from a copy", secret.way)
		default:
			counts[secret.way]++
			delays = append(delays, s.withoutHoldUps(secret.erased, secret.shredded))
		}
	}
	// Try every other key, too.
	tried := map[int64]bool{}
	for c := range s.found {
		if key, ok := late.key(c.slot); ok && !tried[c.slot] {
			tried[c.slot] = true
			for _, c := range gone {
				if _, ok := late.unsealWith(key, c); ok {
					s.t.Errorf("%s of slot %d can be unsealed by another key", c.where, c.slot)
				}
			}
		}
	}
	slices.Sort(delays)
	if len(delays) == 0 || kept == 0 {
		s.t.Fatalf("%d were erased and %d kept", len(delays), kept)
	}
	at := func(q float64) time.Duration { return delays[int(q*float64(len(delays)-1))].Round(time.Millisecond) }
	lost := time.Duration(0)
	for _, h := range s.heldUp {
		lost += h.end.Sub(h.begin)
	}
	s.t.Logf("%d copies, %d of them torn; %d contents, %d keys tried on %d; %d kept; erased %v; "+
		"keys were gone after p50 %v, p99 %v, at most %v, without the %v in which the watch was held up",
		s.copies, s.torn, len(s.found), len(tried), len(gone), kept, counts, at(0.5), at(0.99), at(1), lost.Round(time.Millisecond))
	if longest := delays[len(delays)-1]; running && longest > promise {
		s.t.Errorf("a key was there for %v", longest)
	}
	if s.torn > s.copies/2 {
		s.t.Errorf("%d of %d copies could not be read", s.torn, s.copies)
	}
}

// keysElsewhere checks that no key of an erased secret is in any file.
func (s *spy) keysElsewhere() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[[8]byte]string{}
	for _, secret := range s.secrets {
		if secret.erased.IsZero() {
			continue
		}
		for _, key := range secret.keys {
			gone[[8]byte(key)] = secret.way
		}
	}
	err := copyFiles(s.data, filepath.Join(s.dir, "last"), nil, func(name string, b []byte) {
		for key, way := range gone {
			if bytes.Contains(b, key[:]) {
				s.t.Errorf("%s: its key is in %s", way, name)
			}
		}
	})
	if err != nil {
		s.t.Error(err)
	}
}

// forget removes a secret from those that are judged.
func (s *spy) forget(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, text)
}

// waitShredded waits until the keys of all erased secrets are shredded.
func (s *spy) waitShredded() {
	s.t.Helper()
	await.Until(s.t, "the keys of all erased secrets are shredded", func() bool { return len(s.waiting()) == 0 })
}

// conclude waits until the keys of all erased secrets are shredded, ends the copying, and judges
// with the keys at that time.
func (s *spy) conclude(running bool) {
	s.t.Helper()
	s.waitShredded()
	late, err := readKeyFile(filepath.Join(s.data, "keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.finish()
	s.judge(late, running)
	s.keysElsewhere()
}

// finish ends the copying once all kept secrets have been found.
func (s *spy) finish() {
	s.t.Helper()
	s.mu.Lock()
	var kept []string
	for text, secret := range s.secrets {
		if secret.way == "" {
			kept = append(kept, text)
		}
	}
	s.mu.Unlock()
	s.waitKnown(kept...)
	s.end()
}

// erasures returns the list of erasures.
func (s *spy) erasures() (list []*secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if !secret.erased.IsZero() {
			list = append(list, secret)
		}
	}
	return list
}
