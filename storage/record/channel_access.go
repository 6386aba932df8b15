package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/imapi/imapi/im"
)

type channelAccess struct {
	Private   bool       `json:"private,omitempty"`
	Overrides []override `json:"overrides,omitempty"`
}

type override struct {
	Role im.ID `json:"role"`
	grants
}

// grants are permission bits; package im assigns their numbers.
type grants struct {
	Allow im.Permissions `json:"allow,omitempty"`
	Deny  im.Permissions `json:"deny,omitempty"`
}

// ChannelAccess encodes the access rules of a channel as JSON.
func ChannelAccess(a im.ChannelAccess) ([]byte, error) {
	stored := channelAccess{Private: a.Private}
	for _, o := range a.Overrides {
		stored.Overrides = append(stored.Overrides, override{Role: o.Role, grants: grants(o.Grants)})
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode the access rules of a channel: %w", err)
	}
	return data, nil
}

// ReadChannelAccess decodes what [ChannelAccess] encoded.
func ReadChannelAccess(data []byte) (im.ChannelAccess, error) {
	var stored channelAccess
	if err := json.Unmarshal(data, &stored); err != nil {
		return im.ChannelAccess{}, fmt.Errorf("decode the access rules of a channel: %w", err)
	}
	a := im.ChannelAccess{Private: stored.Private}
	for _, o := range stored.Overrides {
		a.Overrides = append(a.Overrides, im.Override{Role: o.Role, Grants: im.Grants(o.grants)})
	}
	return a, nil
}

// MayOverride reports whether what [ChannelAccess] encoded may have an override for one of
// the roles. It searches the JSON without decoding it: a space may have many channels, most
// of them without an override for the roles, and decoding each would take ten times as
// long.
func MayOverride(data []byte, roles []im.ID) bool {
	return slices.ContainsFunc(roles, func(role im.ID) bool {
		return bytes.Contains(data, strconv.AppendInt([]byte(`"role":`), int64(role), 10))
	})
}
