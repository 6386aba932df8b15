package auth

import "strings"

// Bearer returns the token of an Authorization header. It returns [ErrTokenMissing] if
// the header is empty, has another scheme or has no token.
func Bearer(authorization string) (string, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", ErrTokenMissing
	}
	return token, nil
}
