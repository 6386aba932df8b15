package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/imapi/imapi/im"
)

type access struct {
	Private   bool       `json:"private,omitempty"`
	Overrides []override `json:"overrides,omitempty"`
}

type override struct {
	Role im.ID `json:"role"`
	grants
}

// grants are permissions by the numbers that they have in package im.
type grants struct {
	Allow im.Permissions `json:"allow,omitempty"`
	Deny  im.Permissions `json:"deny,omitempty"`
}

// Access returns what decides about a channel as it is stored: JSON.
func Access(a im.ChannelAccess) ([]byte, error) {
	stored := access{Private: a.Private}
	for _, o := range a.Overrides {
		stored.Overrides = append(stored.Overrides, override{Role: o.Role, grants: grants(o.Grants)})
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("writing the access to a channel: %w", err)
	}
	return data, nil
}

// ReadAccess reads what [Access] wrote.
func ReadAccess(data []byte) (im.ChannelAccess, error) {
	var stored access
	if err := json.Unmarshal(data, &stored); err != nil {
		return im.ChannelAccess{}, fmt.Errorf("reading the access to a channel: %w", err)
	}
	a := im.ChannelAccess{Private: stored.Private}
	for _, o := range stored.Overrides {
		a.Overrides = append(a.Overrides, im.Override{Role: o.Role, Grants: im.Grants(o.grants)})
	}
	return a, nil
}

// AccessNames reports whether what [Access] wrote may have an override of one of the
// roles. It does not decode it: of all channels of a space that would take ten times as
// long, and most name none of them.
func AccessNames(data []byte, roles []im.ID) bool {
	return slices.ContainsFunc(roles, func(role im.ID) bool {
		return bytes.Contains(data, strconv.AppendInt([]byte(`"role":`), int64(role), 10))
	})
}
