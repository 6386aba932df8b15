package sqlite

import (
	"database/sql"
	"math"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// userCacheSize is how many users a generation of the cache holds.
const userCacheSize = 16384

// userCache knows the keys of users that were used lately. It holds committed
// users alone, whose keys never change. Two generations bound it: when the
// young one is full it becomes the old one, and what is found in the old one
// becomes young again.
type userCache struct {
	mu    sync.Mutex
	size  int
	young map[im.UserID]int64
	old   map[im.UserID]int64
}

func newUserCache(size int) *userCache {
	return &userCache{size: size, young: map[im.UserID]int64{}}
}

func (c *userCache) get(name im.UserID) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, ok := c.young[name]; ok {
		return key, true
	}
	key, ok := c.old[name]
	if ok {
		c.put(name, key)
	}
	return key, ok
}

// add takes users whose transaction was committed.
func (c *userCache) add(users map[im.UserID]int64) {
	if len(users) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, key := range users {
		c.put(name, key)
	}
}

func (c *userCache) put(name im.UserID, key int64) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[im.UserID]int64, c.size)
	}
	c.young[name] = key
}

const selectUser = "SELECT id FROM users WHERE name = ?"

// userKey returns the key of a user, 0 if nothing is known of them.
func (r *reader) userKey(name im.UserID) (int64, error) {
	if key, ok := r.interned[name]; ok {
		return key, nil
	}
	if key, ok := r.users.get(name); ok {
		return key, nil
	}
	var key int64
	found, err := r.session.row(selectUser, []any{string(name)}, &key)
	switch {
	case err != nil || !found:
	case r.interned == nil:
		r.users.add(map[im.UserID]int64{name: key}) // a reader sees what was committed
	default:
		r.interned[name] = key
	}
	return key, err
}

// intern returns the key of a user, making one if there is none.
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

// internOptional is intern for a user that may be "", which is NULL.
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
	// oldestCuts are those that are forgotten next.
	oldestCuts = ` FROM users INDEXED BY users_cut
		WHERE tokens_cut_at IS NOT NULL AND tokens_cut_at < ?1 ORDER BY tokens_cut_at, name LIMIT ?2`
	selectNewestOfOldest = "SELECT max(at) FROM (SELECT tokens_cut_at AS at" + oldestCuts + ")"
	putForgottenCut      = `INSERT INTO meta (key, value) VALUES ('forgotten_cut', ?)
		ON CONFLICT DO UPDATE SET value = max(value, excluded.value)`
	forgetCuts = "UPDATE users SET tokens_cut_at = NULL WHERE id IN (SELECT id" + oldestCuts + ")"
)

// TokenCuts returns a page of the cut-offs that are kept.
func (r *reader) TokenCuts(after *im.TokenCut, limit int) (list []im.TokenCut, err error) {
	at, user := int64(math.MinInt64), ""
	if after != nil {
		at, user = after.At.UnixMilli(), string(after.User)
	}
	err = r.session.query(selectTokenCuts, []any{at, user, limit}, func(rows *sql.Rows) (bool, error) {
		var cut im.TokenCut
		var at int64
		err := rows.Scan(&cut.User, &at)
		cut.At = fromMillis(at)
		list = append(list, cut)
		return true, err
	})
	return list, err
}

// ForgottenCut returns when the newest forgotten cut-off was made.
func (r *reader) ForgottenCut() (time.Time, error) {
	var at sql.NullInt64
	_, err := r.session.row(selectForgottenCut, nil, &at)
	return optionalTime(at), err
}

// ForgetCuts forgets the oldest cut-offs, and remembers when the newest of them was
// made.
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

// CutTokens makes the user's tokens issued at or before the time bad.
func (t *tx) CutTokens(cut im.TokenCut) error {
	user, err := t.intern(cut.User)
	if err != nil {
		return err
	}
	// A clock that was set back must not make old tokens good again.
	_, err = t.session.exec("UPDATE users SET tokens_cut_at = max(coalesce(tokens_cut_at, 0), ?) WHERE id = ?", cut.At.UnixMilli(), user)
	if err != nil {
		return err
	}
	t.cuts = append(t.cuts, cut)
	return nil
}
