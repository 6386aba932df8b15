package client

// Draft is a message to be sent: a [SendText], [SendImage], [SendAudio], [SendVideo],
// [SendFile], [SendLocation] or [SendCustom]. Its Type need not be set.
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

func (m SendImage) prepare(clientID string) (any, string) {
	m.Type = SendImageTypeImage
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

func (m SendAudio) prepare(clientID string) (any, string) {
	m.Type = SendAudioTypeAudio
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

func (m SendVideo) prepare(clientID string) (any, string) {
	m.Type = SendVideoTypeVideo
	m.ClientID = orElse(m.ClientID, clientID)
	return m, *m.ClientID
}

func (m SendFile) prepare(clientID string) (any, string) {
	m.Type = SendFileTypeFile
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
