package handlers

import (
	"encoding/json"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

const day = 24 * time.Hour

// spaceSettings returns the settings of a space.
func spaceSettings(c im.Conversation) api.SpaceSettings {
	return api.SpaceSettings{
		Announcement: optional(c.Announcement), Avatar: optional(c.Avatar), Join: api.JoinPolicy(c.Join.String()),
		RevokeWindowSeconds:       unitsOrNil(c.RevokeWindow, time.Second),
		RevokeOthersWindowSeconds: unitsOrNil(c.RevokeOthersWindow, time.Second),
	}
}

// unitsOrNil returns a duration in units; nil for nil.
func unitsOrNil(d *time.Duration, unit time.Duration) *int64 {
	if d == nil {
		return nil
	}
	return new(int64(*d / unit))
}

// secondsOrNil returns a duration in seconds; nil for 0.
func secondsOrNil(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	return unitsOrNil(&d, time.Second)
}

// settingsPatch reads a change of settings. Null resets a setting; a missing one is unchanged.
func settingsPatch(p *api.SettingsPatch) (im.ConversationPatch, error) {
	if p == nil {
		return im.ConversationPatch{}, nil
	}
	var r patchReader
	out := im.ConversationPatch{
		History:            parsed(p.History, im.ParseHistory),
		RevokeWindow:       r.duration("revoke_window_seconds", p.RevokeWindowSeconds, time.Second),
		RevokeOthersWindow: r.duration("revoke_others_window_seconds", p.RevokeOthersWindowSeconds, time.Second),
		ExpireAfter:        orZero(r.duration("expire_after_seconds", p.ExpireAfterSeconds, time.Second)),
		Retention:          r.duration("retention_days", p.RetentionDays, day),
		Announcement:       orZero(nullable[string](&r, "announcement", p.Announcement)),
		Avatar:             orZero(nullable[string](&r, "avatar", p.Avatar)),
		Join:               parsed(p.Join, im.ParseJoinPolicy),
		Invite:             parsed(p.Invite, im.ParseInvitePolicy),
		MuteAll:            p.MuteAll,
		SlowMode:           orZero(r.duration("slow_mode_seconds", p.SlowModeSeconds, time.Second)),
	}
	return out, r.err
}

// spacePatch is settingsPatch for the settings of a space.
func spacePatch(p *api.SpaceSettingsPatch) (im.ConversationPatch, error) {
	if p == nil {
		return im.ConversationPatch{}, nil
	}
	return settingsPatch(&api.SettingsPatch{
		Announcement: p.Announcement, Avatar: p.Avatar, Join: p.Join,
		RevokeWindowSeconds: p.RevokeWindowSeconds, RevokeOthersWindowSeconds: p.RevokeOthersWindowSeconds,
	})
}

// patchReader reads the members of a patch, and keeps the first error.
type patchReader struct{ err error }

// nullable reads a member that may be null. It returns nil if the member is missing, and a
// pointer to nil if it is null. The only value of a validated body that it refuses is an integer
// written as 1e3 or 1.0.
func nullable[T any](r *patchReader, name string, raw json.RawMessage) **T {
	if raw == nil {
		return nil
	}
	var v *T
	if err := json.Unmarshal(raw, &v); err != nil && r.err == nil {
		r.err = im.RefuseField(im.Invalid, "invalid_request", "settings/"+name, "%s", undecodedDetail)
	}
	return &v
}

func (r *patchReader) duration(name string, raw json.RawMessage, unit time.Duration) **time.Duration {
	n := nullable[int64](r, name, raw)
	if n == nil {
		return nil
	}
	var d *time.Duration
	if *n != nil {
		d = new(time.Duration(**n) * unit)
	}
	return &d
}

// orZero returns the pointer to the value of a member: nil if the member is missing, and a pointer
// to the zero value if it is null.
func orZero[T any](p **T) *T {
	switch {
	case p == nil:
		return nil
	case *p == nil:
		return new(T)
	default:
		return *p
	}
}

// parsed reads an enumeration, which has been validated.
func parsed[T any, S ~string](p *S, parse func(string) (T, bool)) *T {
	if p == nil {
		return nil
	}
	v, _ := parse(string(*p))
	return &v
}
