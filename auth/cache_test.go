package auth

import (
	"strconv"
	"testing"

	"github.com/imapi/imapi/im"
)

// remember puts a token into the cache as Verify does.
func remember(c *cache, token string) {
	_, generation, _ := c.get(cacheKey(token))
	c.put(cacheKey(token), verified{Principal: Principal{Actor: im.Actor{User: im.UserID(token)}}}, generation)
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
				t.Errorf("size %d: the newest was not kept", size)
			}
			if n := len(c.young) + len(c.old); n > size+1 {
				t.Fatalf("size %d: holds %d", size, n)
			}
		}
	}
}

func TestCacheKeepsWhatIsAskedFor(t *testing.T) {
	c := newCache(10)
	remember(c, "often")
	for i := range 100 {
		remember(c, strconv.Itoa(i))
		if !known(c, "often") {
			t.Fatalf("forgotten after %d others", i+1)
		}
	}
	if known(c, "0") {
		t.Error("what nobody asked for was kept")
	}
}

func TestCacheClear(t *testing.T) {
	c := newCache(10)
	remember(c, "a")
	_, generation, _ := c.get(cacheKey("b"))
	c.clear()
	if known(c, "a") {
		t.Error("not forgotten")
	}
	// What began before the clearing ends after it.
	c.put(cacheKey("b"), verified{}, generation)
	if _, _, ok := c.get(cacheKey("b")); ok {
		t.Error("what was verified before was put in after")
	}
	remember(c, "c")
	if !known(c, "c") {
		t.Error("no longer remembers")
	}
}
