// Package web serves the demo: one page that sends and listens, without libraries.
package web

import (
	_ "embed"
	"net/http"
)

//go:embed demo.html
var page []byte

// contentSecurity allows the page its own inline script and style, and requests to its own
// server.
const contentSecurity = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the demo.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(page) // fails only if the browser is gone
	})
}
