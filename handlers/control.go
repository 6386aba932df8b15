package handlers

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

// adminPrefix is of what the key of the control listener is good for, and jobPrefix of
// what nothing else is good for.
const (
	adminPrefix = "/v1/admin/"
	jobPrefix   = "/control/"
)

// Control returns routes for a listener of their own: who has the key is an
// admin, whatever tokens the server takes, and nobody else is anything. It is for
// commands on the same machine. jobs answers what is below /control/: what only they may
// ask for, for it writes files, or takes long.
func Control(key string, routes, jobs http.Handler) http.Handler {
	want := sha256.Sum256([]byte(key)) // of one length, to be compared in constant time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := auth.Bearer(r.Header.Get("Authorization"))
		given := sha256.Sum256([]byte(token))
		if err != nil || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
			write(w, problem(http.StatusUnauthorized, auth.ErrTokenInvalid.Code, "this takes the key of this server's control file"))
			return
		}
		if strings.HasPrefix(r.URL.Path, jobPrefix) {
			jobs.ServeHTTP(w, r)
			return
		}
		if !strings.HasPrefix(r.URL.Path, adminPrefix) {
			write(w, problem(http.StatusNotFound, "not_found", "there is nothing at this path"))
			return
		}
		p := auth.Principal{Actor: im.Actor{Admin: true}}
		routes.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), p, im.Caller{Job: "control"})))
	})
}
