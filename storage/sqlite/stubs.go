package sqlite

import (
	"errors"

	"github.com/imapi/imapi/im"
)

var errStub = errors.New("not built yet")

func (r *reader) Search(im.SearchQuery) (im.SearchPage, error) { return im.SearchPage{}, errStub }
