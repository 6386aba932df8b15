package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestReferenceOff checks that the reference is served, and that nothing of it is with
// --docs=false. test/web/reference.mjs checks it in Chromium.
func TestReferenceOff(t *testing.T) {
	t.Parallel()
	on, off := startServer(t), startServer(t, "--docs=false")
	for path, has := range map[string]string{"/docs": `data-sign-in="on"`, "/docs/": `data-sign-in="on"`, "/docs/reference.js": "telemetry: false", "/docs/scalar.js": "createApiReference"} {
		if status, got := visit(t, on, http.MethodGet, path, "", ""); status != http.StatusOK || !strings.Contains(got, has) {
			t.Errorf("GET %s is %d %.200s", path, status, got)
		}
		if status, got := visit(t, off, http.MethodGet, path, "", ""); status != http.StatusNotFound || !strings.Contains(got, `"code":"not_found"`) {
			t.Errorf("GET %s is %d %.200s with --docs=false", path, status, got)
		}
	}
	// Nobody is signed in if the demo does not sign people in.
	if _, got := visit(t, startServer(t, "--demo=false"), http.MethodGet, "/docs", "", ""); !strings.Contains(got, `data-sign-in="off"`) {
		t.Errorf("with --demo=false it is %s", got)
	}
}
