package im_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestTokenCuts(t *testing.T) {
	w := newWorld(t)
	operator := im.Actor{User: "operator", Admin: true}
	w.pass(1500 * time.Microsecond)
	cut, err := w.CutTokens(w.ctx, operator, "alice")
	w.must(err)
	w.equal("the cut", cut, im.TokenCut{User: "alice", At: epoch.Add(time.Millisecond)})
	w.pass(time.Second)
	later, err := w.CutTokens(w.ctx, operator, "alice")
	w.must(err)
	_, err = w.CutTokens(w.ctx, as("alice"), "bob")
	w.equal("by a user", answer(err), "403 admin_required")
	w.committed()
	w.equal("published", w.cuts, []im.TokenCut{cut, later})
	w.equal("kept", w.keptCuts(), []im.TokenCut{later})
}

// keptCuts returns all stored cut-offs.
func (w *world) keptCuts() (cuts []im.TokenCut) {
	w.Helper()
	_, err := w.TokenCuts(w.ctx, func(cut im.TokenCut) { cuts = append(cuts, cut) })
	w.must(err)
	return cuts
}

// Cut-offs are read in pages of bounded size, and forgotten in bounded steps, once every token that
// they could affect has expired.
func TestManyTokenCuts(t *testing.T) {
	const cuts = 2500
	policy := im.DefaultPolicy()
	policy.CutRetention = time.Hour
	w := newWorldWith(t, policy)
	cut := func(user string) {
		w.must(w.store.Write(w.ctx, func(tx im.Tx) error {
			return tx.CutTokens(im.TokenCut{User: im.UserID(user), At: w.clock()})
		}))
	}
	w.must(w.store.Write(w.ctx, func(tx im.Tx) error {
		for i := range cuts {
			if err := tx.CutTokens(im.TokenCut{User: im.UserID(fmt.Sprint("u", i)), At: w.clock()}); err != nil {
				return err
			}
		}
		return nil
	}))
	w.pass(time.Minute)
	cut("late")
	counted := &countedStore{Store: w.store}
	s := im.NewService(counted, policy, w.clock)
	got := map[im.UserID]bool{}
	forgotten, err := s.TokenCuts(w.ctx, func(c im.TokenCut) { got[c.User] = true })
	w.must(err)
	w.equal("read", []any{len(got), forgotten.IsZero()}, []any{cuts + 1, true})
	w.equal("snapshots", counted.views, 4) // three pages, and the time of the latest forgotten one
	w.equal("cut-offs of the longest", counted.most, 1000)

	forget := func() (int, time.Time) {
		n, through, err := s.ForgetCuts(w.ctx)
		w.must(err)
		return n, through
	}
	w.pass(time.Hour - time.Minute)
	n, _ := forget()
	w.equal("to the millisecond", n, 0)
	w.pass(time.Millisecond)
	counted.writes = 0
	n, through := forget()
	w.equal("forgotten", []any{n, through}, []any{cuts, epoch})
	w.equal("in steps", counted.writes >= cuts/100, true)
	w.equal("kept", len(w.keptCuts()), 1)

	forever := im.NewService(w.store, im.DefaultPolicy(), w.clock)
	w.pass(10000 * time.Hour)
	n, _, err = forever.ForgetCuts(w.ctx)
	w.must(err)
	w.equal("without a maximum age", n, 0)
}

// countedStore counts transactions, and the cut-offs that are read in them.
type countedStore struct {
	im.Store
	views, writes, most int
}

func (s *countedStore) View(ctx context.Context, fn func(im.Reader) error) error {
	s.views++
	read := 0
	err := s.Store.View(ctx, func(r im.Reader) error { return fn(cutReader{r, &read}) })
	s.most = max(s.most, read)
	return err
}

func (s *countedStore) Write(ctx context.Context, fn func(im.Tx) error) error {
	s.writes++
	return s.Store.Write(ctx, fn)
}

type cutReader struct {
	im.Reader
	cuts *int
}

func (r cutReader) TokenCuts(after *im.TokenCut, limit int) ([]im.TokenCut, error) {
	list, err := r.Reader.TokenCuts(after, limit)
	*r.cuts += len(list)
	return list, err
}
