package handlers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// unwanted is a body that fails the test when it is read.
type unwanted struct{ t *testing.T }

func (u unwanted) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, http.ErrBodyReadAfterClose
}

// TestUnwantedBodiesAreNotRead sends a body to an operation without one: the server must not keep
// it, because a stream would hold it for its whole life.
func TestUnwantedBodiesAreNotRead(t *testing.T) {
	w := newWorld(t)
	req := httptest.NewRequest(http.MethodGet, "/v1/conversations", unwanted{t})
	req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
	rec := httptest.NewRecorder()
	w.routes.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}
