package handlers

import (
	"encoding/json"
	"io"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

func member(m im.MemberView) api.Member {
	return api.Member{
		User: api.UserID(m.User), Role: api.Role(m.Role.String()), JoinedAt: api.Time(m.JoinedAt),
		MutedUntil: timeOrNil(m.MutedUntil),
	}
}

// plain encodes JSON without escaping <, > and &: an escape takes six bytes.
func plain(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// roleOrNil returns nil for 0, the role of a user who is not a member.
func roleOrNil(r im.Role) *api.Role {
	if r == 0 {
		return nil
	}
	return new(api.Role(r.String()))
}

// timeOrNil returns nil for the zero time.
func timeOrNil(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	out := api.Time(t)
	return &out
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func duration(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func userIDs(users []im.UserID) []api.UserID {
	out := make([]api.UserID, len(users))
	for i, u := range users {
		out[i] = api.UserID(u)
	}
	return out
}

func domainUsers(users []api.UserID) []im.UserID {
	out := make([]im.UserID, len(users))
	for i, u := range users {
		out[i] = im.UserID(u)
	}
	return out
}

// each converts the items of a list.
func each[T, U any](list []T, as func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = as(v)
	}
	return out
}

// value returns what p points to, or otherwise if p is nil.
func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
