package handlers

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

// adminPrefix begins the paths of the API that the control listener serves, and jobPrefix those
// that no other listener serves. The control listener serves readyPath, too.
const (
	adminPrefix = "/v1/admin/"
	jobPrefix   = "/control/"
	readyPath   = "/readyz"
)

// Control returns the routes of the control listener, which is for commands on the same
// machine. A request with the key is an admin's; the listener accepts no tokens. jobs serves the
// paths below /control/, which write files or take long.
func Control(key string, routes, jobs http.Handler) http.Handler {
	want := sha256.Sum256([]byte(key)) // hashes have one length and are compared in constant time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := auth.Bearer(r.Header.Get("Authorization"))
		given := sha256.Sum256([]byte(token))
		if err != nil || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
			write(w, problem(http.StatusUnauthorized, auth.ErrTokenInvalid.Code, "the key of this server's control file is required"))
			return
		}
		if strings.HasPrefix(r.URL.Path, jobPrefix) {
			jobs.ServeHTTP(w, r)
			return
		}
		if r.URL.Path == readyPath {
			routes.ServeHTTP(w, r)
			return
		}
		if !strings.HasPrefix(r.URL.Path, adminPrefix) {
			write(w, problem(http.StatusNotFound, "not_found", "no such path"))
			return
		}
		p := auth.Principal{Actor: im.Actor{Admin: true}}
		routes.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), p, im.Caller{Job: "control"})))
	})
}
