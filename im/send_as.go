package im

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
)

// MaxSendAs is the maximum number of users and conversations to which one request of an admin may
// send.
const MaxSendAs = 500

// SentAs is the result for one target of [Service.SendAs].
type SentAs struct {
	To string
	Sent
	Err error

	target string // its oneName
}

// SendAs sends a message as any user to users and conversations, to each as [Service.Send]
// does, and returns a result for each of them, even an invalid one. A conversation that is
// named twice gets one message and has the same result twice.
//
// The actor must be an admin, who acts for the application. Permissions, mutes, slow mode, blocks,
// membership and the pre-send hook do not apply. The rules for the message itself do.
//
// With a client_id, it is idempotent for each target: a repetition sends what is missing,
// even if the first request did not finish or the repetition has other targets.
//
// It may take several transactions. If the first is refused, for example because the server is
// overloaded, SendAs returns the refusal. If a later one is, messages that were sent before stay
// sent, and the other targets have the refusal as their result.
func (s *Service) SendAs(ctx context.Context, actor Actor, as UserID, to []string, d Draft) ([]SentAs, error) {
	if !actor.Admin {
		return nil, errNotAdmin()
	}
	if !as.Valid() {
		return nil, RefuseField(Invalid, "invalid_request", "as", "is not a user id: "+UserIDRule)
	}
	if len(to) == 0 || len(to) > MaxSendAs {
		return nil, RefuseField(Invalid, "invalid_request", "to", "must be 1 to %d users and conversations", MaxSendAs)
	}
	if d.Type == 0 {
		return nil, RefuseField(Rule, "command_unsupported", "message/type", "commands are not sent as other users")
	}
	given, err := d.Content(s.policy.MaxMessageBytes)
	if err != nil {
		return nil, inMessage(err)
	}
	d.admin = actor.User
	done, err := s.inLine.enter(ctx, actor.User)
	if err != nil {
		return nil, err
	}
	defer done()
	seen, err := s.findSightings(ctx, d, as, given)
	if err != nil {
		return nil, err
	}
	return eachInSteps(ctx, s, to, func(tx Tx, rest []string, earlier []SentAs) ([]SentAs, error) {
		return s.sendSome(tx, Actor{User: as}, rest, d, given, seen, earlier)
	}, func(target string, err error) SentAs { return SentAs{To: target, Err: err} })
}

// sendSome sends a message to targets in their order, at least to one, until the step is over.
// earlier are the results of the previous steps.
func (s *Service) sendSome(tx Tx, as Actor, to []string, d Draft, given *Content, seen *sightings, earlier []SentAs) ([]SentAs, error) {
	by := make(map[string]SentAs, len(earlier))
	for _, result := range earlier {
		by[result.target] = result
	}
	results := make([]SentAs, 0, len(to))
	for step := s.pace(); len(results) < len(to) && (len(results) == 0 || !step.over()); {
		result, err := s.sendTo(tx, as, to[len(results)], d, given, seen, by)
		if err != nil {
			return nil, err
		}
		if result.target != "" {
			by[result.target] = result
		}
		results = append(results, result)
	}
	return results, nil
}

// sendTo sends a message to one target, unless by has its result. The error is never a
// refusal.
func (s *Service) sendTo(tx Tx, as Actor, to string, d Draft, given *Content, seen *sightings, by map[string]SentAs) (SentAs, error) {
	result := SentAs{To: to}
	ref, err := ParseConversationRef(to)
	if err == nil {
		result.target, err = oneName(tx, as, ref)
	}
	if err == nil {
		if same, there := by[result.target]; there {
			same.To = to
			return same, nil
		}
		if d.ClientID != "" {
			d.ClientID = s.clientIDFor(d.ClientID, result.target)
		}
		result.Sent, err = s.send(tx, as, ref, d, given, ruling{seen: seen})
	}
	if _, refused := AsError(err); err != nil && !refused {
		return result, err
	}
	result.Err = inMessage(err)
	return result, nil
}

// oneName returns the one name of a conversation, however a request refers to it. A direct
// conversation is named by its users, because it may not exist yet.
func oneName(r ConversationReader, as Actor, ref ConversationRef) (string, error) {
	peers := PeersOf(as.User, ref.Peer)
	if ref.Peer == "" {
		c, found, err := maybe(r.Conversation(ref.ID))
		if err == nil && !found {
			err = errUnknownConversation()
		}
		if err != nil || c.Kind != Direct {
			return ref.ID.String(), err
		}
		peers = c.Peers
	}
	return string(peers[0]) + "\n" + string(peers[1]), nil
}

// clientIDFor returns the client_id of the message for a target: a hash, because a user has
// each client_id only once. It uses a key that clients do not know: a user who could compute the
// hash could send a message under it first, and the target would not get the server's. A line break
// separates the parts, because no user id has one.
func (s *Service) clientIDFor(clientID, target string) string {
	sum := hmac.New(sha256.New, s.store.Instance().TicketKey)
	_, _ = io.WriteString(sum, "client_id of a server send\n"+clientID+"\n"+target) // never fails
	return "as." + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// inMessage adapts a refusal to a request that contains the message in a part of its body: its
// field is in that part, or is the target.
func inMessage(err error) error {
	refusal, ok := AsError(err)
	if !ok || refusal.Field == "" {
		return err
	}
	if refusal.Field == "conversation" {
		return withField(err, "conversation", "to")
	}
	return withField(err, refusal.Field, "message/"+refusal.Field)
}

// withField changes the field that a refusal names, and returns any other error unchanged. Most
// requests name the conversation in the path, but some in the body.
func withField(err error, field, named string) error {
	refusal, ok := AsError(err)
	if !ok || refusal.Field != field {
		return err
	}
	renamed := *refusal
	renamed.Field = named
	return &renamed
}
