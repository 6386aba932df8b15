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
	return &m, identified(&m.ClientID, clientID)
}

func (m SendImage) prepare(clientID string) (any, string) {
	m.Type = SendImageTypeImage
	return &m, identified(&m.ClientID, clientID)
}

func (m SendAudio) prepare(clientID string) (any, string) {
	m.Type = SendAudioTypeAudio
	return &m, identified(&m.ClientID, clientID)
}

func (m SendVideo) prepare(clientID string) (any, string) {
	m.Type = SendVideoTypeVideo
	return &m, identified(&m.ClientID, clientID)
}

func (m SendFile) prepare(clientID string) (any, string) {
	m.Type = SendFileTypeFile
	return &m, identified(&m.ClientID, clientID)
}

func (m SendLocation) prepare(clientID string) (any, string) {
	m.Type = SendLocationTypeLocation
	return &m, identified(&m.ClientID, clientID)
}

func (m SendCustom) prepare(clientID string) (any, string) {
	m.Type = SendCustomTypeCustom
	return &m, identified(&m.ClientID, clientID)
}

// identified sets a client_id that is nil or empty to another one, and returns the client_id.
func identified(own **string, other string) string {
	if *own == nil || **own == "" {
		*own = &other
	}
	return **own
}
