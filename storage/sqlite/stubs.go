package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/imapi/imapi/im"
)

var errStub = errors.New("not built yet")

func (r *reader) Search(im.SearchQuery) (im.SearchPage, error) { return im.SearchPage{}, errStub }
func (r *reader) Retentions() ([]*time.Duration, error)        { return nil, errStub }
func (r *reader) Oldest(*time.Duration, time.Time, *im.OldestKey, int) ([]im.Conversation, error) {
	return nil, errStub
}
func (r *reader) CountBefore(im.ID, time.Time) (int64, error) { return 0, errStub }
func (r *reader) Trimming(int) ([]im.Conversation, error)     { return nil, errStub }
func (r *reader) Unpurged(int) ([]im.Conversation, error)     { return nil, errStub }
func (r *reader) OldestMessage() (time.Time, bool, error)     { return time.Time{}, false, errStub }

func (t *tx) DeleteConversation(im.ID, time.Time, im.Position) error { return errStub }
func (t *tx) Purge(im.ID, int) (bool, error)                         { return false, errStub }
func (t *tx) Trim(im.ID, time.Time, int) (im.Trimmed, error)         { return im.Trimmed{}, errStub }

func (s *Store) Reclaim(context.Context) error { return errStub }
