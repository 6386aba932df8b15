package auth

import (
	"strconv"
	"testing"

	"github.com/imapi/imapi/im"
)

// remember adds a token to the cache as Verify does.
func remember(c *cache, token string) {
	_, cleared, _ := c.get(cacheKey(token))
	c.put(cacheKey(token), verified{Principal: Principal{Actor: im.Actor{User: im.UserID(token)}}}, cleared)
}

func known(c *cache, token string) bool {
	v, _, ok := c.get(cacheKey(token))
	return ok && v.User == im.UserID(token)
}

func TestCacheIsBounded(t *testing.T) {
	for _, size := range []int{1, 2, 3, 10, 101} {
		c := newCache(size)
		for i := range 5 * size {
			token := strconv.Itoa(i)
			remember(c, token)
			if !known(c, token) {
				t.Errorf("size %d: the newest entry is missing", size)
			}
			if n := len(c.young) + len(c.old); n > size+1 {
				t.Fatalf("size %d: the cache has %d entries", size, n)
			}
		}
	}
}

func TestCacheKeepsEntriesInUse(t *testing.T) {
	c := newCache(10)
	remember(c, "often")
	for i := range 100 {
		remember(c, strconv.Itoa(i))
		if !known(c, "often") {
			t.Fatalf("dropped after %d others", i+1)
		}
	}
	if known(c, "0") {
		t.Error("an unused entry was kept")
	}
}

func TestCacheClear(t *testing.T) {
	c := newCache(10)
	remember(c, "a")
	_, cleared, _ := c.get(cacheKey("b"))
	c.clear()
	if known(c, "a") {
		t.Error("an entry survived")
	}
	// A verification that began before the clear ends after it.
	c.put(cacheKey("b"), verified{}, cleared)
	if _, _, ok := c.get(cacheKey("b")); ok {
		t.Error("a token verified before the clear was added after it")
	}
	remember(c, "c")
	if !known(c, "c") {
		t.Error("a new entry is missing")
	}
}
