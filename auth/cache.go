package auth

import (
	"crypto/sha256"
	"sync"
)

// cache holds verified tokens by their hash, so a token itself stays in memory no
// longer than its request. It has two generations. When the young one is full, it
// becomes the old one, and the previous old one is dropped. A hit in the old
// generation copies the entry to the young one. Expired entries, too, stay until their
// generation is dropped.
type cache struct {
	mu         sync.RWMutex
	half       int // capacity of each generation
	young, old map[[sha256.Size]byte]verified
	// cleared counts the calls of clear. A token verified with the keys before a
	// clear must not enter the cache after it.
	cleared uint64
}

// newCache returns a cache for about size tokens.
func newCache(size int) *cache {
	return &cache{half: (size + 1) / 2, young: map[[sha256.Size]byte]verified{}}
}

// cacheKey returns the key of a token in the cache.
func cacheKey(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// get looks up a token. If it is not found, the caller passes cleared to put.
func (c *cache) get(key [sha256.Size]byte) (v verified, cleared uint64, ok bool) {
	c.mu.RLock()
	v, ok = c.young[key]
	inOld := false
	if !ok {
		v, inOld = c.old[key]
	}
	cleared = c.cleared
	c.mu.RUnlock()
	if inOld {
		c.put(key, v, cleared)
	}
	return v, cleared, ok || inOld
}

// put adds a token, unless the cache was cleared after the get that returned cleared.
func (c *cache) put(key [sha256.Size]byte, v verified, cleared uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cleared != c.cleared {
		return
	}
	if _, ok := c.young[key]; !ok && len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]verified, c.half)
	}
	c.young[key] = v
}

// clear drops all tokens.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleared++
	c.old, c.young = nil, map[[sha256.Size]byte]verified{}
}
