package record

import (
	"encoding/json"
	"fmt"

	"github.com/imapi/imapi/im"
)

type role struct {
	ID im.ID `json:"id"`
	grants
}

// Roles encodes the roles of a space as JSON, without their names. Names are content and
// are sealed.
func Roles(set im.RoleSet) ([]byte, error) {
	stored := make([]role, len(set))
	for i, r := range set {
		stored[i] = role{ID: r.ID, grants: grants(r.Grants)}
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode the roles of a space: %w", err)
	}
	return data, nil
}

// ReadRoles decodes what [Roles] encoded.
func ReadRoles(data []byte) (set im.RoleSet, err error) {
	var stored []role
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("decode the roles of a space: %w", err)
	}
	for _, r := range stored {
		set = append(set, im.SpaceRole{ID: r.ID, Grants: im.Grants(r.grants)})
	}
	return set, nil
}
