package im

// This file reads the ids that requests name things by. A text that is no id is refused like an id
// that nothing has: a client that mistypes an id gets the same answer whatever it typed.

// ParseConversationID reads the id of a conversation.
func ParseConversationID(text string) (ID, error) { return requestedID(text, errUnknownConversation) }

// ParseSpaceID reads the id of a space.
func ParseSpaceID(text string) (ID, error) { return requestedID(text, errUnknownSpace) }

// ParseRoleID reads the id of a role of a space.
func ParseRoleID(text string) (ID, error) { return requestedID(text, errUnknownRole) }

// ParseMessageID reads the id of a message.
func ParseMessageID(text string) (ID, error) { return requestedID(text, errUnknownMessage) }

// ParseAttachmentID reads the id of an attachment.
func ParseAttachmentID(text string) (ID, error) { return requestedID(text, errUnknownAttachment) }

// ParseWebhookID reads the id of a webhook.
func ParseWebhookID(text string) (ID, error) { return requestedID(text, errUnknownWebhook) }

func requestedID(text string, unknown func() error) (ID, error) {
	id, ok := ParseID(text)
	if !ok {
		return 0, unknown()
	}
	return id, nil
}

// ConversationRef names a conversation in a request: by its id or, as "@user", as the actor's
// direct conversation with that user.
type ConversationRef struct {
	ID   ID
	Peer UserID
}

// ParseConversationRef reads an id or "@user".
func ParseConversationRef(text string) (ConversationRef, error) {
	if len(text) > 0 && text[0] == '@' {
		peer := UserID(text[1:])
		if !peer.Valid() {
			return ConversationRef{}, errUnknownConversation()
		}
		return ConversationRef{Peer: peer}, nil
	}
	id, err := ParseConversationID(text)
	return ConversationRef{ID: id}, err
}
