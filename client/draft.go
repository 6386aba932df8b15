package client

// Draft is a message to be sent: a [SendText], [SendLocation] or [SendCustom].
// Its Type need not be set.
type Draft interface {
	// prepare returns the body of the request and its client_id: that of the draft, or
	// clientID if the draft has none.
	prepare(clientID string) (body any, used string)
}

func (m SendText) prepare(clientID string) (any, string) {
	m.Type = SendTextTypeText
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

func (m SendLocation) prepare(clientID string) (any, string) {
	m.Type = SendLocationTypeLocation
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

func (m SendCustom) prepare(clientID string) (any, string) {
	m.Type = SendCustomTypeCustom
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

// orElse returns own, or a pointer to other if own is nil or empty.
func orElse(own *string, other string) *string {
	if own == nil || *own == "" {
		return &other
	}
	return own
}
