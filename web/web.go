// Package web is the demo: one page that sends and listens, with nothing but
// what a browser has.
package web

import (
	_ "embed"
	"net/http"
)

//go:embed demo.html
var page []byte

// contentSecurity lets the page run what it brings along, and talk to the
// server that it came from.
const contentSecurity = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the demo.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(page) // the browser is gone if this fails
	})
}
