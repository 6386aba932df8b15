package im

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// The pre-send hook: the application is asked about a message before it is stored. The application
// may allow the message, refuse it, drop it so that only its sender sees it, or rewrite it.

// PresendHook asks the application.
type PresendHook interface {
	// Ask returns the application's answer. An [Error] is returned to the sender unchanged; any
	// other error means that there is no answer. Ask may be called concurrently.
	Ask(ctx context.Context, q PresendQuestion) (PresendAnswer, error)
}

// PresendQuestion is a message that the rules of the server allow.
type PresendQuestion struct {
	// Conversation is the conversation that it is sent to. A direct conversation that it would
	// create has no ID.
	Conversation Conversation
	Sender       UserID
	SenderDevice string
	Draft        Draft
	// Given is the content of the draft, and Content the same completed with what is known of its
	// attachments.
	Given, Content *Content
	At             time.Time
}

// PresendAction is what the application wants done with a message.
type PresendAction uint8

// The actions.
const (
	PresendAllow   PresendAction = iota + 1
	PresendRefuse                // the sender gets a code and a text
	PresendDrop                  // only the sender sees it
	PresendRewrite               // with another body or ext
)

var presendActionNames = names[PresendAction]{
	PresendAllow: "allow", PresendRefuse: "refuse", PresendDrop: "drop", PresendRewrite: "rewrite",
}

// String returns the action as hooks know it.
func (a PresendAction) String() string { return presendActionNames[a] }

// ParsePresendAction parses the result of [PresendAction.String].
func ParsePresendAction(s string) (PresendAction, bool) { return presendActionNames.parse(s) }

// PresendAnswer is the application's answer.
type PresendAnswer struct {
	Action PresendAction
	// Code and Text are for the sender of a refused message.
	Code, Text string
	// Body and Ext replace those of a rewritten message; nil replaces nothing.
	Body, Ext json.RawMessage
}

// The limits of a refusal by the hook: the code in bytes, the text in characters.
const (
	MaxRefusalCode = 64
	MaxRefusalText = 500
)

// PresendOutcome is the outcome of asking the hook about a message.
type PresendOutcome string

// The outcomes. The hook failed if it gave no usable answer.
const (
	PresendAllowed      PresendOutcome = "allowed"
	PresendRefused      PresendOutcome = "refused"
	PresendDropped      PresendOutcome = "dropped"
	PresendRewritten    PresendOutcome = "rewritten"
	PresendFailedOpen   PresendOutcome = "failed_open"   // and the message was sent
	PresendFailedClosed PresendOutcome = "failed_closed" // and the message was refused
)

// Presend configures the pre-send hook.
type Presend struct {
	Hook PresendHook
	// Types and Kinds are the types of message, and the kinds of conversation, that the hook
	// is asked about; all if nil.
	Types []MessageType
	Kinds []Kind
	// FailOpen sends a message without a usable answer; otherwise it is refused.
	FailOpen bool
	// AtOnce is the maximum number of concurrent questions, and AtOnceOfUser that of questions
	// about messages of one user. Wait is the longest time that a message waits for its turn.
	AtOnce, AtOnceOfUser int
	Wait                 time.Duration
	// Observe is called with each outcome, and with the error if the hook failed. It may be
	// nil.
	Observe func(PresendOutcome, error)
}

// presend is a configured hook. A nil presend asks about no message.
type presend struct {
	Presend
	turns *turns

	mu sync.Mutex
	// asking has the requests about whose messages the hook may be asked. Each channel is closed
	// when its request has ended.
	asking map[ClientKey]chan struct{}
}

// UsePresend makes the service ask the hook about messages that users send. It must be called
// before the first is sent.
func (s *Service) UsePresend(p Presend) {
	if p.Observe == nil {
		p.Observe = func(PresendOutcome, error) {}
	}
	s.presend = &presend{Presend: p, turns: newTurns(p.AtOnce, p.AtOnceOfUser, p.Wait), asking: make(map[ClientKey]chan struct{})}
}

// mayAsk reports whether the hook is asked about a type of message, in some conversations.
func (p *presend) mayAsk(t MessageType) bool {
	return p != nil && (p.Types == nil || slices.Contains(p.Types, t))
}

func (p *presend) asksIn(k Kind) bool { return p.Kinds == nil || slices.Contains(p.Kinds, k) }

// alone waits until no other request of the sender with this client_id is in progress, so that the
// hook is asked only once about a request and its repetitions. It returns a function that lets the
// next request proceed, or the context's cause.
func (p *presend) alone(ctx context.Context, key ClientKey) (done func(), err error) {
	if key.ClientID == "" {
		return func() {}, nil
	}
	for {
		p.mu.Lock()
		other := p.asking[key]
		if other == nil {
			mine := make(chan struct{})
			p.asking[key] = mine
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				delete(p.asking, key)
				p.mu.Unlock()
				close(mine)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// sendAsked is [Service.Send] for a message that the hook may be asked about. The rules are checked
// first, so that the hook is not asked about messages that are refused anyway, and again in the
// transaction, because the state may have changed in the meantime. No transaction and no reader is
// held while the hook is asked.
func (s *Service) sendAsked(ctx context.Context, actor Actor, ref ConversationRef, d Draft, given *Content) (Sent, error) {
	done, err := s.presend.alone(ctx, ClientKey{Sender: actor.User, ClientID: d.ClientID})
	if err != nil {
		return Sent{}, err
	}
	defer done()
	a, err := view(ctx, s, func(r Reader) (admission, error) { return s.admit(r, actor, ref, d, given, nil) })
	if err != nil || a.again {
		return Sent{Message: a.first, Again: a.again}, err
	}
	by := ruling{}
	if s.presend.asksIn(a.entry.Conversation.Kind) {
		by, err = s.ask(ctx, PresendQuestion{
			Conversation: a.entry.Conversation, Sender: actor.User, SenderDevice: actor.Device,
			Draft: d, Given: given, Content: a.attached.content, At: s.time(),
		})
		if err != nil {
			return Sent{}, err
		}
	}
	return s.sendSighted(ctx, actor, ref, d, given, by)
}

// ask asks the hook and returns what to do with the message. It refuses the message if the hook
// does, if there is no usable answer and FailOpen is not set, or, even with FailOpen, if the
// question got no turn: otherwise a user could get messages past the hook by sending many at once.
func (s *Service) ask(ctx context.Context, q PresendQuestion) (ruling, error) {
	p := s.presend
	done, err := p.turns.take(WithCaller(ctx, Caller{User: q.Sender}))
	if _, ok := AsError(err); ok {
		return ruling{}, errHookUnavailable("too many messages are waiting for an answer from the application")
	}
	if err != nil {
		return ruling{}, err
	}
	answer, err := p.Hook.Ask(ctx, q)
	done()
	if refusal, ok := AsError(err); ok {
		return ruling{}, refusal
	}
	if ctx.Err() != nil {
		return ruling{}, context.Cause(ctx) // the sender has disconnected; the hook has not failed
	}
	by := ruling{}
	if err == nil {
		by, err = answer.ruling(q, s.policy.MaxMessageBytes)
	}
	if by.content != nil && q.Draft.Type.HasAttachment() {
		err = s.read(ctx, func(r Reader) error {
			att, err := s.withAttachments(r, q.Draft.Type, by.content, s.mayAttach(r, q.Draft, q.Sender, nil))
			return cmp.Or(err, att.refusal)
		})
	}
	by, outcome, refusal := decide(by, answer, err, p.FailOpen)
	p.Observe(outcome, err)
	return by, refusal
}

// ruling is what to do with a message. The zero ruling sends it unchanged.
type ruling struct {
	// drop is set if only the sender may see it.
	drop bool
	// content replaces the message's content; nil leaves it unchanged.
	content *Content
	// seen are the messages in which the sender sees the attachments.
	seen *sightings
}

// decide returns what to do with a message, or the refusal that its sender gets. by is what the
// answer asks for; err is set if there is no usable answer.
func decide(by ruling, answer PresendAnswer, err error, failOpen bool) (ruling, PresendOutcome, error) {
	switch {
	case err != nil && failOpen:
		return ruling{}, PresendFailedOpen, nil
	case err != nil:
		return ruling{}, PresendFailedClosed, errHookUnavailable("the application gave no usable answer about the message")
	case answer.Action == PresendRefuse:
		refusal := Refuse(Forbidden, "refused_by_hook", "the application refused the message")
		refusal.HookCode, refusal.HookText = answer.Code, answer.Text
		return ruling{}, PresendRefused, refusal
	case by.drop:
		return by, PresendDropped, nil
	case by.content != nil:
		return by, PresendRewritten, nil
	default:
		return by, PresendAllowed, nil
	}
}

// ruling returns what the answer asks for. It returns an error if the answer is not usable.
func (a PresendAnswer) ruling(q PresendQuestion, maxBytes int) (ruling, error) {
	if a.Action != PresendRefuse && (a.Code != "" || a.Text != "") || a.Action != PresendRewrite && (a.Body != nil || a.Ext != nil) {
		return ruling{}, errors.New("the answer has members of another action")
	}
	switch a.Action {
	case PresendAllow:
		return ruling{}, nil
	case PresendRefuse:
		return ruling{}, a.checkRefusal()
	case PresendDrop:
		return ruling{drop: true}, nil
	case PresendRewrite:
		return a.rewrite(q, maxBytes)
	default:
		return ruling{}, errors.New("the answer has no action")
	}
}

// checkRefusal checks the code and the text for the sender of a refused message.
func (a PresendAnswer) checkRefusal() error {
	if len(a.Code) == 0 || len(a.Code) > MaxRefusalCode {
		return errors.New("the code is missing or too long")
	}
	for i := range len(a.Code) {
		if c := a.Code[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return errors.New("the code has characters that are not a-z, 0-9, _, a hyphen or a dot")
		}
	}
	if !utf8.ValidString(a.Text) || utf8.RuneCountInString(a.Text) > MaxRefusalText {
		return errors.New("the text is too long or not UTF-8")
	}
	for _, c := range a.Text {
		if c != '\n' && !unicode.IsPrint(c) {
			return errors.New("the text has characters that are not printable")
		}
	}
	return nil
}

// rewrite returns the rewritten message. It refuses one that could not be sent.
func (a PresendAnswer) rewrite(q PresendQuestion, maxBytes int) (ruling, error) {
	if a.Body == nil && a.Ext == nil {
		return ruling{}, errors.New("the answer rewrites nothing")
	}
	d := q.Draft
	d.Canonical = false // the answer need not be
	if a.Body != nil {
		d.Body = a.Body
	}
	if a.Ext != nil {
		d.Ext = a.Ext
	}
	d.original = fingerprint(q.Given.Sent)
	content, err := d.Content(maxBytes)
	return ruling{content: content}, err
}

// fingerprint returns the hash by which a repetition of a rewritten message is recognised. It
// is stored within the sealed content and destroyed with it.
func fingerprint(sent []byte) string {
	sum := sha256.Sum256(sent)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// hookRetry is the time after which a sender may retry if the hook has failed, or if the question
// got no turn.
const hookRetry = 2 * time.Second

func errHookUnavailable(why string) error {
	refusal := Refuse(Unavailable, "hook_unavailable", "%s", why)
	refusal.RetryAfter = hookRetry
	return refusal
}
