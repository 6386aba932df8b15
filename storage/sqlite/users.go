package sqlite

import (
	"database/sql"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// userCacheSize is the number of users in a generation of the cache.
const userCacheSize = 16384

// userCache caches the keys of recently used users, and their names. It holds only committed
// users, whose keys and names never change.
type userCache struct {
	mu    sync.Mutex
	keys  generations[im.UserID, int64]
	names generations[int64, im.UserID]
}

// generations is a bounded map: when young is full it becomes old, and entries that are found in
// old move to young.
type generations[K comparable, V any] struct {
	size       int
	young, old map[K]V
}

func newUserCache(size int) *userCache {
	return &userCache{
		keys:  generations[im.UserID, int64]{size: size, young: map[im.UserID]int64{}},
		names: generations[int64, im.UserID]{size: size, young: map[int64]im.UserID{}},
	}
}

func (g *generations[K, V]) get(key K) (V, bool) {
	if v, ok := g.young[key]; ok {
		return v, true
	}
	v, ok := g.old[key]
	if ok {
		g.put(key, v)
	}
	return v, ok
}

func (g *generations[K, V]) put(key K, v V) {
	if len(g.young) >= g.size {
		g.old, g.young = g.young, make(map[K]V, g.size)
	}
	g.young[key] = v
}

// key returns the key of a user.
func (c *userCache) key(name im.UserID) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.get(name)
}

// name returns the name of the user with a key.
func (c *userCache) name(key int64) (im.UserID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names.get(key)
}

// add adds users whose transaction was committed.
func (c *userCache) add(users map[im.UserID]int64) {
	if len(users) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, key := range users {
		c.keys.put(name, key)
		c.names.put(key, name)
	}
}

const (
	selectUser     = "SELECT id FROM users WHERE name = ?"
	selectUserName = "SELECT name FROM users WHERE id = ?"
)

// userKey returns the key of a user, 0 if the user is unknown.
func (r *reader) userKey(name im.UserID) (int64, error) {
	if key, ok := r.interned[name]; ok {
		return key, nil
	}
	if key, ok := r.users.key(name); ok {
		return key, nil
	}
	var key int64
	found, err := r.session.row(selectUser, []any{string(name)}, &key)
	switch {
	case err != nil || !found:
	case r.interned == nil:
		r.users.add(map[im.UserID]int64{name: key}) // a reader only sees committed users
	default:
		r.interned[name] = key
	}
	return key, err
}

// userName returns the name of the user with a key, "" for the key 0. Rows name users by
// their keys: looking names up here is cheaper than joining them, because few users are in
// many rows.
func (r *reader) userName(key int64) (im.UserID, error) {
	if key == 0 {
		return "", nil
	}
	if name, known := r.users.name(key); known {
		return name, nil
	}
	var name im.UserID
	found, err := r.session.row(selectUserName, []any{key}, &name)
	if err == nil && !found {
		err = fmt.Errorf("user %d is missing", key)
	}
	if err == nil && r.interned == nil {
		r.users.add(map[im.UserID]int64{name: key}) // a reader only sees committed users
	}
	return name, err
}

// intern returns the key of a user, and stores the user if necessary.
func (t *tx) intern(name im.UserID) (int64, error) {
	key, err := t.userKey(name)
	if err != nil || key != 0 {
		return key, err
	}
	res, err := t.session.exec("INSERT INTO users (name) VALUES (?)", string(name))
	if err != nil {
		return 0, err
	}
	if key, err = res.LastInsertId(); err != nil {
		return 0, err
	}
	t.interned[name] = key
	return key, nil
}

// internOptional is intern for a user that may be ""; the result is then NULL.
func (t *tx) internOptional(name im.UserID) (any, error) {
	if name == "" {
		return nil, nil
	}
	return t.intern(name)
}

const (
	selectTokenCuts = `SELECT name, tokens_cut_at FROM users INDEXED BY users_cut
		WHERE tokens_cut_at IS NOT NULL AND (tokens_cut_at, name) > (?1, ?2) ORDER BY tokens_cut_at, name LIMIT ?3`
	selectForgottenCut = "SELECT value FROM meta WHERE key = 'forgotten_cut'"
	// oldestCuts selects the cut-offs to forget next.
	oldestCuts = ` FROM users INDEXED BY users_cut
		WHERE tokens_cut_at IS NOT NULL AND tokens_cut_at < ?1 ORDER BY tokens_cut_at, name LIMIT ?2`
	selectNewestOfOldest = "SELECT max(at) FROM (SELECT tokens_cut_at AS at" + oldestCuts + ")"
	putForgottenCut      = `INSERT INTO meta (key, value) VALUES ('forgotten_cut', ?)
		ON CONFLICT DO UPDATE SET value = max(value, excluded.value)`
	forgetCuts = "UPDATE users SET tokens_cut_at = NULL WHERE id IN (SELECT id" + oldestCuts + ")"
)

// TokenCuts returns a page of the stored cut-offs.
func (r *reader) TokenCuts(after *im.TokenCut, limit int) (list []im.TokenCut, err error) {
	at, user := int64(math.MinInt64), ""
	if after != nil {
		at, user = after.At.UnixMilli(), string(after.User)
	}
	err = r.session.usersAt(selectTokenCuts, []any{at, user, limit}, func(user im.UserID, at time.Time) {
		list = append(list, im.TokenCut{User: user, At: at})
	})
	return list, err
}

// users runs a query for users.
func (s *session) users(query string, args ...any) (list []im.UserID, err error) {
	err = s.query(query, args, func(rows row) (bool, error) {
		var user im.UserID
		err := rows.Scan(&user)
		list = append(list, user)
		return true, err
	})
	return list, err
}

// usersAt runs a query for users and times.
func (s *session) usersAt(query string, args []any, add func(im.UserID, time.Time)) error {
	return s.query(query, args, func(rows row) (bool, error) {
		var user im.UserID
		var at int64
		if err := rows.Scan(&user, &at); err != nil {
			return false, err
		}
		add(user, fromMillis(at))
		return true, nil
	})
}

// ForgottenCut returns the time of the newest forgotten cut-off, zero if none was forgotten.
func (r *reader) ForgottenCut() (time.Time, error) {
	var at sql.NullInt64
	_, err := r.session.row(selectForgottenCut, nil, &at)
	return optionalTime(at), err
}

// ForgetCuts forgets up to limit cut-offs from before a time, the oldest first, and stores the time
// of the newest that it forgot. It returns how many it forgot.
func (t *tx) ForgetCuts(before time.Time, limit int) (int, error) {
	millis := ceilMillis(before).UnixMilli()
	var newest sql.NullInt64
	if _, err := t.session.row(selectNewestOfOldest, []any{millis, limit}, &newest); err != nil || !newest.Valid {
		return 0, err
	}
	if _, err := t.session.exec(putForgottenCut, newest.Int64); err != nil {
		return 0, err
	}
	n, err := t.session.update(forgetCuts, millis, limit)
	return int(n), err
}

// CutTokens invalidates the user's tokens issued at or before a time.
func (t *tx) CutTokens(cut im.TokenCut) error {
	user, err := t.intern(cut.User)
	if err != nil {
		return err
	}
	// max keeps old tokens invalid if the clock is set back.
	_, err = t.session.exec("UPDATE users SET tokens_cut_at = max(coalesce(tokens_cut_at, 0), ?) WHERE id = ?", cut.At.UnixMilli(), user)
	if err != nil {
		return err
	}
	t.cuts = append(t.cuts, cut)
	return nil
}
