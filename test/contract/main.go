// Command contract uses clients and servers that other projects' generators make from the OpenAPI
// document: oapi-codegen with its defaults and chi server, and ogen. Both compile, and each client
// sends a message, reads it back, is refused, reads the event log, and gets a stream without
// waiting for its end.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ogen-go/ogen/ogenerrors"

	"github.com/imapi/imapi/test/contract/generated/oapi"
	"github.com/imapi/imapi/test/contract/generated/ogen"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: contract URL TOKEN")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, client := range []struct {
		name string
		run  func(ctx context.Context, url, token, text string) error
	}{{"oapi-codegen", oapiCodegen}, {"ogen", ogenClient}} {
		if err := client.run(ctx, os.Args[1], os.Args[2], "hello from "+client.name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", client.name, err)
			os.Exit(1)
		}
		fmt.Printf("%s: sent, read, refused, followed\n", client.name)
	}
}

// The servers only have to compile.
var (
	_ = oapi.Handler
	_ = oapi.NewStrictHandler
	_ = ogen.NewServer
)

func oapiCodegen(ctx context.Context, url, token, text string) error {
	c, err := oapi.NewClientWithResponses(url, oapi.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return err
	}
	var body oapi.SendMessage
	if err := body.FromSendText(oapi.SendText{Type: "text", Body: oapi.TextBody{Text: text}}); err != nil {
		return err
	}
	sent, err := c.SendMessageWithResponse(ctx, "@bob", nil, body)
	if err != nil || sent.JSON201 == nil {
		return fmt.Errorf("sending: %w, %s", err, sent.Status())
	}
	read, err := c.GetMessageWithResponse(ctx, sent.JSON201.Id, nil)
	if err != nil || read.JSON200 == nil || read.JSON200.Body == nil || *read.JSON200.Body.Text != text {
		return fmt.Errorf("reading: %w, %s", err, read.Body)
	}
	refused, err := c.GetConversationWithResponse(ctx, "@nobody", nil)
	if err != nil || refused.ApplicationproblemJSON404 == nil || refused.ApplicationproblemJSON404.Code != oapi.ProblemCodeConversationNotFound {
		return fmt.Errorf("being refused: %w, %s", err, refused.Body)
	}
	log, err := c.GetEventLogWithResponse(ctx, nil)
	if err != nil || log.JSON200 == nil {
		return fmt.Errorf("reading the log: %w, %s", err, log.Status())
	}
	found := false
	for _, item := range log.JSON200.Items {
		event, err := item.ValueByDiscriminator()
		if err != nil {
			return err
		}
		created, ok := event.(oapi.EventMessageCreated)
		if ok && created.Message != nil && created.Message.Body != nil && created.Message.Body.Text != nil {
			found = found || *created.Message.Body.Text == text
		}
	}
	if !found {
		return errors.New("the message is not in the log")
	}
	stream, err := c.GetEvents(ctx, nil) // GetEventsWithResponse would read the stream to its end
	if err != nil {
		return err
	}
	return ready(stream.Body)
}

// who provides the token for ogen's client.
type who string

// Token implements [ogen.SecuritySource].
func (w who) Token(context.Context, ogen.OperationName) (ogen.Token, error) {
	return ogen.Token{Token: string(w)}, nil
}

// EventTicket implements [ogen.SecuritySource].
func (who) EventTicket(context.Context, ogen.OperationName) (ogen.EventTicket, error) {
	return ogen.EventTicket{}, ogenerrors.ErrSkipClientSecurity
}

func ogenClient(ctx context.Context, url, token, text string) error {
	c, err := ogen.NewClient(url, who(token))
	if err != nil {
		return err
	}
	sending := ogen.NewSendTextSendMessage(ogen.SendText{Type: ogen.SendTextTypeText, Body: ogen.TextBody{Text: text}})
	sent, err := c.SendMessage(ctx, sending, ogen.SendMessageParams{Conversation: "@bob"})
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	created, ok := sent.(*ogen.SendMessageCreated)
	if !ok {
		return fmt.Errorf("sending: %T", sent)
	}
	got, err := c.GetMessage(ctx, ogen.GetMessageParams{Message: created.ID})
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	read, ok := got.(*ogen.Message)
	if !ok || read.Body.Value.Text.Value != text {
		return fmt.Errorf("reading: %T", got)
	}
	answer, err := c.GetConversation(ctx, ogen.GetConversationParams{Conversation: "@nobody"})
	if err != nil {
		return fmt.Errorf("being refused: %w", err)
	}
	if refused, ok := answer.(*ogen.GetConversationNotFound); !ok || refused.Code != ogen.ProblemCodeConversationNotFound {
		return fmt.Errorf("being refused: %T", answer)
	}
	page, err := c.GetEventLog(ctx, ogen.GetEventLogParams{})
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	log, ok := page.(*ogen.EventPage)
	if !ok {
		return fmt.Errorf("reading the log: %T", page)
	}
	found := false
	for _, event := range log.Items {
		if created, ok := event.GetEventMessageCreated(); ok {
			found = found || created.Message.Value.Body.Value.Text.Value == text
		}
	}
	if !found {
		return errors.New("the message is not in the log")
	}
	following, err := c.GetEvents(ctx, ogen.GetEventsParams{})
	if err != nil {
		return fmt.Errorf("following: %w", err)
	}
	stream, ok := following.(*ogen.GetEventsOKRawTextEventStream)
	if !ok {
		return fmt.Errorf("following: %T", following)
	}
	return ready(stream.Response.Body)
}

// ready reads a stream up to its ready event.
func ready(stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			if name != "ready" {
				return fmt.Errorf("the stream begins with %q", name)
			}
			return nil
		}
	}
	return fmt.Errorf("following: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}
