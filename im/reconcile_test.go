package im_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestFind(t *testing.T) {
	shredded := fmt.Errorf("slot 7: %w", &im.ShreddedError{Code: im.ShredRevoked})
	for name, tt := range map[string]struct {
		sealed im.Sealed
		want   im.Finding
	}{
		"readable":                      {im.Sealed{}, im.Fine},
		"erased since":                  {im.Sealed{Err: shredded}, im.FoundErased},
		"never had a key":               {im.Sealed{Err: fmt.Errorf("x: %w", im.ErrNoKey)}, im.FoundLost},
		"damaged":                       {im.Sealed{Err: errors.New("does not fit")}, im.FoundDamaged},
		"erased":                        {im.Sealed{Erased: im.Burned, Err: shredded}, im.Fine},
		"erased, and the key never was": {im.Sealed{Erased: im.Burned, Err: im.ErrNoKey}, im.Fine},
		"erased, and the key exists":    {im.Sealed{Erased: im.Burned}, im.FoundKey},
		"erased, and the key is about to be shredded": {im.Sealed{Erased: im.Burned, Doomed: true}, im.Fine},
		"erased, and the key is another":              {im.Sealed{Erased: im.Burned, Err: errors.New("does not fit")}, im.Fine},
	} {
		if got := tt.sealed.Find(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
