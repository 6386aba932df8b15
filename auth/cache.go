package auth

import (
	"crypto/sha256"
	"sync"
)

// cache remembers tokens that were verified, by their hash, so that no token
// lies in memory longer than its request. It has two generations: when the
// young one is full it becomes the old one, and the old one is forgotten, but
// for what was asked for meanwhile. What has expired goes that way as well.
type cache struct {
	mu         sync.RWMutex
	half       int // room in each generation
	young, old map[[sha256.Size]byte]verified
	// generation counts how often the cache was cleared, so that what was
	// verified with keys of before is not put in after.
	generation uint64
}

// newCache makes a cache for at most size tokens.
func newCache(size int) *cache {
	return &cache{half: (size + 1) / 2, young: map[[sha256.Size]byte]verified{}}
}

// cacheKey is the hash under which a token is remembered.
func cacheKey(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// get finds a token. The generation is for the put that follows if it is not
// there.
func (c *cache) get(key [sha256.Size]byte) (v verified, generation uint64, ok bool) {
	c.mu.RLock()
	v, ok = c.young[key]
	inOld := false
	if !ok {
		v, inOld = c.old[key]
	}
	generation = c.generation
	c.mu.RUnlock()
	if inOld {
		c.put(key, v, generation)
	}
	return v, generation, ok || inOld
}

// put remembers a token, unless the cache was cleared since the get.
func (c *cache) put(key [sha256.Size]byte, v verified, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if _, ok := c.young[key]; !ok && len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]verified, c.half)
	}
	c.young[key] = v
}

// clear forgets all tokens.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.old, c.young = nil, map[[sha256.Size]byte]verified{}
}
