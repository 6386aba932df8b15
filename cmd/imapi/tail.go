package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/imapi/imapi/client"
)

const tailSummary = `Print the latest messages of a conversation, one line each, and then new ones and what
is erased, until Ctrl-C. After a lost connection it continues with no gap and no repeat.`

// tailFlags are the flags of imapi tail.
type tailFlags struct {
	connection
	target
	last   int
	follow bool
	asJSON bool
}

// maxLast is the largest number of messages with which imapi tail begins.
const maxLast = 10_000

// runTail prints the messages of a conversation.
func runTail(ctx context.Context, args []string, out, diag io.Writer) error {
	var t tailFlags
	f := newFlags("tail", tailSummary, diag)
	t.connection.add(f)
	t.target.add(f)
	f.IntVar(&t.last, "last", 20, "the `number` of messages to begin with")
	f.BoolVar(&t.follow, "follow", true, "print what happens after that; --follow=false ends instead")
	f.BoolVar(&t.asJSON, "json", false, "print each message as one JSON object per line, again when it is erased")
	if err := f.parse(args); err != nil {
		return err
	}
	if t.last < 0 || t.last > maxLast {
		return misuse("--last: must be 0 to %d", maxLast)
	}
	conversation, err := t.path()
	if err != nil {
		return err
	}
	c, err := t.open(f)
	if err != nil {
		return err
	}
	tail := &tail{client: c, conversation: conversation, print: t.printer(out)}
	if !t.follow {
		err = tail.begin(ctx, t.last)
	} else {
		err = tail.run(ctx, t.last, t.reportDisconnect(diag))
	}
	if err != nil && ctx.Err() == nil { // not Ctrl-C
		return t.explain(err)
	}
	return nil
}

// printer returns a function that prints a message.
func (t *tailFlags) printer(out io.Writer) func(client.Message, time.Time) error {
	if t.asJSON {
		return func(m client.Message, _ time.Time) error { return json.NewEncoder(out).Encode(m) }
	}
	return func(m client.Message, at time.Time) error {
		_, err := fmt.Fprintln(out, clockText(at, time.Now())+"  "+messageText(m))
		return err
	}
}

// tail follows a conversation.
type tail struct {
	client *client.Client
	// conversation is the path of the conversation, and id its id once that is known: a direct
	// conversation is created by its first message.
	conversation, id string
	print            func(client.Message, time.Time) error
	// seq is the highest seq that was printed or skipped.
	seq int64
}

// run prints the latest messages, up to last of them, and follows the conversation.
func (t *tail) run(ctx context.Context, last int, onDisconnect func(error, time.Duration)) error {
	begun := false
	for event, err := range t.client.Events(ctx, client.EventsOptions{OnDisconnect: onDisconnect}) {
		switch {
		case err != nil:
			return err
		case event.Type == client.EventTypeReady && !begun:
			// The stream is open, so messages sent from here on arrive as events.
			begun = true
			err = t.begin(ctx, last)
		case event.Type == client.EventTypeReset:
			err = t.catchUp(ctx)
		default:
			err = t.take(ctx, event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin prints the latest messages, up to last of them.
func (t *tail) begin(ctx context.Context, last int) error {
	if err := t.identify(ctx); err != nil || t.id == "" {
		return err
	}
	var messages []client.Message
	params := client.ListMessagesParams{IncludeErased: new(true), Limit: new(int32(max(1, min(last, 200))))}
	for {
		page, err := t.client.ListMessagesWithResponse(ctx, t.id, &params)
		if err != nil {
			return err
		}
		messages = append(messages, page.JSON200.Items...)
		if page.JSON200.NextPageToken == nil || len(messages) >= last {
			break
		}
		params.PageToken = page.JSON200.NextPageToken
	}
	if len(messages) > 0 {
		t.seq = messages[0].Seq
	}
	messages = messages[:min(last, len(messages))]
	for _, m := range slices.Backward(messages) {
		if err := t.print(m, m.CreatedAt); err != nil {
			return err
		}
	}
	return nil
}

// identify finds the id of the conversation. A direct one that does not exist yet has none.
func (t *tail) identify(ctx context.Context) error {
	found, err := t.client.GetConversationWithResponse(ctx, t.conversation, nil)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Code == "conversation_not_found" && t.conversation[0] == '@' {
		return nil
	}
	if err != nil {
		return err
	}
	t.id = found.JSON200.ID
	return nil
}

// catchUp prints the messages with a seq greater than t.seq.
func (t *tail) catchUp(ctx context.Context) error {
	if t.id == "" {
		if err := t.identify(ctx); err != nil || t.id == "" {
			return err
		}
	}
	for {
		page, err := t.client.ListMessagesWithResponse(ctx, t.id, &client.ListMessagesParams{
			AfterSeq: &t.seq, IncludeErased: new(true), Limit: new(int32(200)),
		})
		if err != nil {
			return err
		}
		if len(page.JSON200.Items) == 0 {
			return nil
		}
		for _, m := range page.JSON200.Items {
			if err := t.print(m, m.CreatedAt); err != nil {
				return err
			}
			t.seq = max(t.seq, m.Seq)
		}
	}
}

// take prints the message of an event of the conversation. It returns an error if the conversation
// was deleted.
func (t *tail) take(ctx context.Context, event client.Event) error {
	if event.ConversationID == nil {
		return nil
	}
	if t.id == "" && event.Type == client.EventTypeConversationCreated {
		if err := t.identify(ctx); err != nil {
			return err
		}
	}
	if *event.ConversationID != t.id {
		return nil
	}
	switch m := event.Message; {
	case event.Type == client.EventTypeConversationDeleted:
		return errors.New("the conversation was deleted")
	case m == nil:
		return nil
	case event.Type == client.EventTypeMessageCreated:
		if m.Seq <= t.seq {
			return nil
		}
		t.seq = m.Seq
		return t.print(*m, m.CreatedAt)
	default:
		return t.print(*m, event.At)
	}
}
