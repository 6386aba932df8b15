package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestClosedConnection sends a request on a connection that the server has closed after an answer.
func TestClosedConnection(t *testing.T) {
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	t.Cleanup(server.Close)
	c := conn{to: &endpoint{url: parsed(t, server.URL)}}
	defer c.close()
	for range 3 {
		a, err := c.do(&request{method: http.MethodGet, path: "/", token: "x", device: device})
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("status %d, %v", a.status, err)
		}
		server.CloseClientConnections()
	}
	if served != 3 {
		t.Errorf("%d requests were served, want 3", served)
	}
}
