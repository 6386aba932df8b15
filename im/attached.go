package im

// attached is the content of a message with its attachments.
type attached struct {
	content *Content
	ids     []ID
	// refusal is the reason why the message may not have its attachments; nil if it may, or has
	// none.
	refusal error
}

// withAttachments completes the content of a draft with what is known of its attachments. allow
// reports whether the sender may use an attachment; nil allows all. The caller has checked the
// draft itself.
func (s *Service) withAttachments(r Reader, t MessageType, content *Content, allow func(Attachment) (bool, error)) (attached, error) {
	out := attached{content: content}
	if !t.HasAttachment() || content == nil {
		return out, nil
	}
	b, err := parseAttachmentBody(content.Body)
	if err != nil {
		return out, err
	}
	a, err := out.load(r, "attachment_id", b.attachment, allow)
	if err != nil || a == nil {
		return out, err
	}
	var thumbnail *Attachment
	if b.thumbnail != 0 {
		if thumbnail, err = out.load(r, "thumbnail_id", b.thumbnail, allow); err != nil || thumbnail == nil {
			return out, err
		}
	}
	if err := b.check(t, *a, thumbnail); err != nil && out.refusal == nil {
		out.refusal = err
	}
	body := b.completed(*a)
	if len(body)+len(content.Ext) > s.policy.MaxMessageBytes {
		return out, nil // a message of the maximum size has no room for more
	}
	sent := append([]byte(`{"body":`), body...)
	sent = append(sent, content.Sent[len(`{"body":`)+len(content.Body):]...)
	out.content, err = ParseContent(sent)
	return out, err
}

// load loads an attachment; nil if there is none. It sets refusal, unless that is set already, if
// the message may not have the attachment.
func (out *attached) load(r Reader, field string, id ID, allow func(Attachment) (bool, error)) (*Attachment, error) {
	a, found, err := maybe(r.Attachment(id))
	if err != nil {
		return nil, err
	}
	allowed := found
	if found && allow != nil {
		allowed, err = allow(a)
	}
	switch {
	case err != nil:
		return nil, err
	case out.refusal != nil:
	case !allowed:
		out.refusal = RefuseField(Rule, "attachment_unusable", "body/"+field, "is not an attachment that you uploaded or can read")
	case a.References >= MaxReferences:
		out.refusal = RefuseField(Rule, "attachment_overused", "body/"+field, "is in %d messages already: upload the file again", MaxReferences)
	}
	if !found {
		return nil, nil
	}
	if len(out.ids) == 0 || out.ids[0] != id {
		out.ids = append(out.ids, id)
	}
	return &a, nil
}
