package record

import (
	"encoding/json"
	"errors"

	"github.com/imapi/imapi/im"
)

// secrets are the secrets of a webhook.
type secrets struct {
	Current  string `json:"current"`
	Previous string `json:"previous,omitempty"`
}

// Secrets encodes the secrets of a webhook.
func Secrets(s im.WebhookSecrets) []byte {
	b, _ := json.Marshal(secrets(s)) // a struct of strings cannot fail
	return b
}

// ErrSecrets reports secrets that cannot be decoded. It does not quote them.
var ErrSecrets = errors.New("the secrets of a webhook are malformed")

// ReadSecrets decodes what [Secrets] encoded. The error is [ErrSecrets].
func ReadSecrets(data []byte, s *im.WebhookSecrets) error {
	var d secrets
	if json.Unmarshal(data, &d) != nil {
		return ErrSecrets
	}
	*s = im.WebhookSecrets(d)
	return nil
}
