package transfer

import (
	"io"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// Line is one line of an import. Exactly one of its fields is set.
type Line struct {
	Message      *im.ImportMessage
	Conversation *im.ImportConversation
}

// ParseLine reads a line. The error is an [im.Error] of kind [im.Invalid].
//
// The result shares memory with the line.
func ParseLine(line []byte) (Line, error) {
	if fault := jsonscan.Fault(line); fault != "" {
		return Line{}, im.Refuse(im.Invalid, "malformed_json", "the line %s", fault)
	}
	if line[0] != '{' {
		return Line{}, im.RefuseField(im.Invalid, "invalid_request", "body", "must be an object")
	}
	if isConversation(line) {
		c, err := parseConversation(line)
		return Line{Conversation: &c}, err
	}
	m, err := ParseMessage(line)
	if err == nil && m.CreatedAt.IsZero() {
		err = errMissing("created_at")
	}
	return Line{Message: &m}, err
}

// isConversation reports whether the first member of a line is `conversation`.
func isConversation(line []byte) (is bool) {
	_ = jsonscan.Members(line, func(name string, _ []byte) error {
		is = name == "conversation"
		return io.EOF // the first member decides
	})
	return is
}

// ParseMessage reads a message from a valid JSON object. Unlike [ParseLine] it accepts one
// without created_at: the insertion of a single message defaults to now. The error is an
// [im.Error] of kind [im.Invalid].
func ParseMessage(line []byte) (im.ImportMessage, error) {
	var (
		m     im.ImportMessage
		state = im.Active
	)
	err := jsonscan.Members(line, func(name string, v []byte) (err error) {
		switch name {
		case "id":
			err = readText(name, v, &m.ID)
		case "conversation_id":
			err = readText(name, v, &m.Conversation)
		case "seq":
			err = readInteger(name, v, &m.Seq, 1, 1<<53-1)
		case "sender":
			err = readText(name, v, &m.Sender)
		case "sender_device":
			err = readOptionalText(name, v, &m.SenderDevice)
		case "client_id":
			err = readOptionalText(name, v, &m.ClientID)
		case "type":
			err = readEnum(name, v, &m.Type, im.ParseMessageType)
		case "body":
			err = readObject(name, v, &m.Body)
		case "ext":
			err = readObject(name, v, &m.Ext)
		case "mentions":
			m.Mentions, err = readMentions(name, v)
		case "mention_all":
			err = readBoolean(name, v, &m.MentionAll)
		case "reply_to":
			err = readOptionalText(name, v, &m.ReplyTo)
		case "receipt":
			err = readBoolean(name, v, &m.Receipt)
		case "state":
			err = readEnum(name, v, &state, im.ParseState)
		case "created_at":
			err = readTime(name, v, &m.CreatedAt)
		case "expires_at":
			err = readOptionalTime(name, v, &m.ExpiresAt)
		case "burn":
			m.Burn, err = readBurn(name, v)
		case "erased":
			m.Erased, err = readErased(name, v)
		case "visible_to":
			err = readOptionalText(name, v, &m.VisibleTo)
		default:
			err = errUnknown(name)
		}
		return err
	})
	switch {
	case err != nil:
		return m, err
	case m.Conversation == "":
		return m, errMissing("conversation_id")
	case m.Sender == "":
		return m, errMissing("sender")
	case m.Type == 0:
		return m, errMissing("type")
	case m.Erased != nil && state == im.Active:
		return m, im.RefuseField(im.Invalid, "invalid_request", "state", "must be revoked, burned or expired for an erased message")
	case m.Erased == nil && state != im.Active:
		return m, errMissing("erased")
	case m.Erased != nil:
		m.Erased.State = state
	}
	return m, nil
}

func readBurn(field string, v []byte) (*im.Burn, error) {
	if isNull(v) {
		return nil, nil
	}
	after, unread := int64(-1), seconds(im.DefaultUnreadTTL)
	b := &im.Burn{}
	err := readMembers(field, v, func(name string, v []byte) (err error) {
		switch name {
		case "after_seconds":
			err = readInteger(name, v, &after, 0, seconds(im.MaxBurnAfter))
		case "unread_ttl_seconds":
			err = readInteger(name, v, &unread, 1, seconds(im.MaxUnreadTTL))
		case "burn_at":
			err = readOptionalTime(name, v, &b.At)
		default:
			err = errUnknown(name)
		}
		return err
	})
	if err == nil && after < 0 {
		err = errMissing(field + "/after_seconds")
	}
	b.After, b.UnreadTTL = duration(after), duration(unread)
	return b, err
}

func readErased(field string, v []byte) (*im.Erasure, error) {
	if isNull(v) {
		return nil, nil
	}
	e := &im.Erasure{}
	err := readMembers(field, v, func(name string, v []byte) (err error) {
		switch name {
		case "at":
			err = readTime(name, v, &e.At)
		case "by":
			err = readOptionalText(name, v, &e.By)
		case "postscript":
			if !isNull(v) {
				err = readString(name, v, &e.Postscript)
			}
		case "extension":
			if !isNull(v) {
				e.Extension = v
			}
		default:
			err = errUnknown(name)
		}
		return err
	})
	if err == nil && e.At.IsZero() {
		err = errMissing(field + "/at")
	}
	return e, err
}

func readMentions(field string, v []byte) ([]im.UserID, error) {
	if isNull(v) {
		return nil, nil
	}
	return readItems(field, v, im.MaxMentions, func(v []byte, u *im.UserID) error { return readText("", v, u) })
}

// parseConversation reads a line that is a conversation.
func parseConversation(line []byte) (im.ImportConversation, error) {
	var c im.ImportConversation
	hasMembers := false
	err := jsonscan.Members(line, func(field string, v []byte) error {
		if field != "conversation" {
			return errUnknown(field)
		}
		return readMembers(field, v, func(name string, v []byte) (err error) {
			switch name {
			case "id":
				err = readText(name, v, &c.ID)
			case "kind":
				err = readEnum(name, v, &c.Kind, im.ParseKind)
			case "name":
				err = readString(name, v, &c.Name)
			case "settings":
				c.Settings, err = readSettings(name, v)
			case "members":
				hasMembers = true
				c.Members, err = readImportMembers(name, v)
			case "created_at":
				err = readTime(name, v, &c.CreatedAt)
			default:
				err = errUnknown(name)
			}
			return err
		})
	})
	switch {
	case err != nil:
	case c.ID == "":
		err = errMissing("conversation/id")
	case c.Kind == 0:
		err = errMissing("conversation/kind")
	case !hasMembers:
		err = errMissing("conversation/members")
	case c.CreatedAt.IsZero():
		err = errMissing("conversation/created_at")
	}
	return c, err
}

// readSettings reads the settings of a conversation. Where null is allowed, it selects the default.
func readSettings(field string, v []byte) (im.ConversationPatch, error) {
	var p im.ConversationPatch
	err := readMembers(field, v, func(name string, v []byte) (err error) {
		var n int64
		switch name {
		case "history":
			var h im.History
			err = readEnum(name, v, &h, im.ParseHistory)
			p.History = &h
		case "revoke_window_seconds":
			if isNull(v) {
				return nil
			}
			err = readInteger(name, v, &n, 0, seconds(im.MaxRevokeWindow))
			window := duration(n)
			p.RevokeWindow = new(&window)
		case "revoke_others_window_seconds":
			if isNull(v) {
				return nil
			}
			err = readInteger(name, v, &n, 0, seconds(im.MaxRevokeWindow))
			window := duration(n)
			p.RevokeOthersWindow = new(&window)
		case "expire_after_seconds":
			if isNull(v) {
				return nil
			}
			err = readInteger(name, v, &n, 1, seconds(im.MaxExpireAfter))
			p.ExpireAfter = new(duration(n))
		case "retention_days":
			if isNull(v) {
				return nil
			}
			err = readInteger(name, v, &n, 0, int64(im.MaxRetention/day))
			keep := time.Duration(n) * day
			p.Retention = new(&keep)
		case "announcement":
			p.Announcement, err = readPatchText(name, v)
		case "avatar":
			p.Avatar, err = readPatchText(name, v)
		case "join":
			var j im.JoinPolicy
			err = readEnum(name, v, &j, im.ParseJoinPolicy)
			p.Join = &j
		case "invite":
			var i im.InvitePolicy
			err = readEnum(name, v, &i, im.ParseInvitePolicy)
			p.Invite = &i
		case "mute_all":
			p.MuteAll = new(bool)
			err = readBoolean(name, v, p.MuteAll)
		case "slow_mode_seconds":
			if isNull(v) {
				return nil
			}
			err = readInteger(name, v, &n, 0, seconds(im.MaxSlowMode))
			p.SlowMode = new(duration(n))
		default:
			err = errUnknown(name)
		}
		return err
	})
	return p, err
}

// readPatchText reads a string. It returns nil for null.
func readPatchText(field string, v []byte) (*string, error) {
	if isNull(v) {
		return nil, nil
	}
	var s string
	err := readString(field, v, &s)
	return &s, err
}

func readImportMembers(field string, v []byte) ([]im.ImportMember, error) {
	return readItems(field, v, im.MaxImportMembers, func(v []byte, m *im.ImportMember) error {
		m.Role = im.Member
		err := readMembers("", v, func(name string, v []byte) (err error) {
			switch name {
			case "user":
				err = readText(name, v, &m.User)
			case "role":
				if isNull(v) {
					m.Role = 0
					return nil
				}
				err = readEnum(name, v, &m.Role, im.ParseRole)
			case "joined_at":
				err = readTime(name, v, &m.JoinedAt)
			case "stays":
				m.Stays, err = readStays(name, v)
			case "left":
				err = readBoolean(name, v, &m.Left)
			default:
				err = errUnknown(name)
			}
			return err
		})
		if err == nil && m.User == "" {
			err = errMissing("user")
		}
		return err
	})
}

func readStays(field string, v []byte) ([]im.SeqRange, error) {
	return readItems(field, v, MaxLine, func(v []byte, stay *im.SeqRange) error {
		stay.To = im.Lasts
		err := readMembers("", v, func(name string, v []byte) (err error) {
			switch name {
			case "from_seq":
				err = readInteger(name, v, &stay.From, 1, 1<<53-1)
			case "to_seq":
				err = readInteger(name, v, &stay.To, 0, 1<<53-1)
			default:
				err = errUnknown(name)
			}
			return err
		})
		if err == nil && stay.From == 0 {
			err = errMissing("from_seq")
		}
		return err
	})
}
