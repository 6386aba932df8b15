package im

// DeliveryQuery asks for a page of the deliveries of a webhook, the newest event first.
type DeliveryQuery struct {
	Webhook ID
	// State leaves out deliveries in other states; 0 is all.
	State DeliveryState
	// Before leaves out the events from this position on; [Latest] requests the first page.
	Before Position
	Limit  int
}

// WebhookReader reads webhooks and their deliveries.
type WebhookReader interface {
	// Webhooks returns all webhooks in the order of their ids, without their secrets.
	Webhooks() ([]Webhook, error)
	// Webhook returns a webhook without its secrets, or ErrNotFound.
	Webhook(id ID) (Webhook, error)
	// WebhookSecrets returns the secrets of a webhook; they are zero if they can no longer be
	// unsealed, or if there is no such webhook.
	WebhookSecrets(id ID) (WebhookSecrets, error)
	// Deliveries returns a page of deliveries.
	Deliveries(q DeliveryQuery) ([]WebhookDelivery, error)
	// WebhookDelivery returns the delivery of the event at a position, or ErrNotFound.
	WebhookDelivery(webhook ID, at Position) (WebhookDelivery, error)
}

// WebhookWriter changes webhooks and their deliveries.
type WebhookWriter interface {
	// PutWebhook stores a webhook, new or changed, without its secrets.
	PutWebhook(w Webhook) error
	// PutWebhookProgress stores the progress of a webhook, or returns ErrNotFound.
	PutWebhookProgress(id ID, p WebhookProgress) error
	// PutWebhookSecrets seals new secrets of a webhook. The key of the old ones is shredded after
	// the commit. Zero secrets only erase the old ones. It returns ErrNotFound if there is no such
	// webhook.
	PutWebhookSecrets(id ID, secrets WebhookSecrets) error
	// DeleteWebhook deletes a webhook with its deliveries, and shreds the key of its
	// secrets. It returns ErrNotFound if there is no such webhook.
	DeleteWebhook(id ID) error
	// PutDeliveries stores deliveries of a webhook. Each replaces an earlier delivery of the same
	// event. Of the deliveries that are delivered and of those that are skipped it keeps only the
	// newest, up to the given numbers.
	PutDeliveries(webhook ID, list []WebhookDelivery, delivered, skipped int) error
}
