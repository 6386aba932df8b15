package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/imapi/imapi/client"
)

func ExampleClient_Send() {
	server := startServer()
	defer server.close()
	ctx := context.Background()

	alice, err := client.New(server.URL, client.Options{Token: server.token("alice")})
	if err != nil {
		log.Fatal(err)
	}
	message, err := alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: "Hello Bob"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Seq, message.Sender, string(message.Body))

	// A message with a client_id of its own can be sent again, for example after a
	// restart. It is created once.
	id := "draft-1"
	for range 2 {
		message, err = alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: "Are you there?"}, ClientID: &id})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(message.Seq, message.Sender, string(message.Body))
	}

	// Output:
	// 1 alice {"text":"Hello Bob"}
	// 2 alice {"text":"Are you there?"}
	// 2 alice {"text":"Are you there?"}
}

// A client that stores the cursor continues where it stopped. It misses no event and
// gets none twice.
func ExampleClient_Events() {
	server := startServer()
	defer server.close()
	ctx := context.Background()
	alice := server.client("alice")
	bob, err := client.New(server.URL, client.Options{Token: server.token("bob"), Device: "phone"})
	if err != nil {
		log.Fatal(err)
	}
	send := func(text string) {
		if _, err := alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: text}}); err != nil {
			log.Fatal(err)
		}
	}

	var cursor string
	keep := client.EventsOptions{OnCursor: func(c string) { cursor = c }}
	for event, err := range bob.Events(ctx, keep) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type)
		if event.Type == client.EventTypeReady {
			send("one")
		}
		if event.Type == client.EventTypeMessageCreated {
			cursor = event.ID // the loop ends before OnCursor is called
			break
		}
	}

	send("two")
	send("three")

	keep.Cursor = cursor
	left := 2
	for event, err := range bob.Events(ctx, keep) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type != client.EventTypeMessageCreated {
			continue
		}
		fmt.Println(event.Type, string(event.Message.Body))
		if left--; left == 0 {
			break
		}
	}

	// Output:
	// ready
	// conversation.created
	// message.created
	// message.created {"text":"two"}
	// message.created {"text":"three"}
}

// A command reaches only clients with open streams. It is not stored.
func ExampleClient_Command() {
	server := startServer()
	defer server.close()
	ctx := context.Background()
	alice := server.client("alice")
	bob := server.client("bob")
	if _, err := alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: "Hello Bob"}}); err != nil {
		log.Fatal(err)
	}

	for event, err := range bob.Events(ctx, client.EventsOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type == client.EventTypeReady {
			if _, err := alice.Command(ctx, "@bob", client.SendCommand{Body: client.CommandBody{Action: "typing"}}); err != nil {
				log.Fatal(err)
			}
		}
		if event.Type == client.EventTypeCommand {
			fmt.Println(*event.Sender, "is", *event.Action)
			break
		}
	}

	// Output:
	// alice is typing
}

// A revoked message is a tombstone for everyone: it keeps its seq and loses its content.
func ExampleClient_revoke() {
	server := startServer()
	defer server.close()
	ctx := context.Background()
	alice := server.client("alice")
	bob := server.client("bob")
	message, err := alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: "My PIN is 4711"}})
	if err != nil {
		log.Fatal(err)
	}

	postscript := "Not for you, sorry"
	_, err = alice.RevokeMessageWithResponse(ctx, message.ID, nil, client.RevokeMessageJSONRequestBody{Postscript: &postscript})
	if err != nil {
		log.Fatal(err)
	}

	found, err := bob.GetMessageWithResponse(ctx, message.ID, nil)
	if err != nil {
		log.Fatal(err)
	}
	tombstone := found.JSON200
	fmt.Println(tombstone.Seq, tombstone.State, string(tombstone.Body), *tombstone.Erased.By, *tombstone.Erased.Postscript)

	// Output:
	// 1 revoked null alice Not for you, sorry
}

// A file is uploaded once, and sent in a message. The recipients of the message can download it.
func ExampleClient_Upload() {
	server := startServer()
	defer server.close()
	ctx := context.Background()

	alice := server.client("alice")
	bob := server.client("bob")
	file, err := alice.Upload(ctx, "notes.txt", strings.NewReader("milk, bread"))
	if err != nil {
		log.Fatal(err)
	}
	message, err := alice.Send(ctx, "@bob", client.SendFile{Body: client.AttachmentBody{AttachmentID: file.ID}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Type, file.Name, file.Type, file.Size)

	body, err := bob.Download(ctx, file.ID)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output:
	// file notes.txt text/plain 11
	// milk, bread
}

// A refusal of the server is a *Problem with a code.
func ExampleProblem() {
	server := startServer()
	defer server.close()
	alice := server.client("alice")
	_, err := alice.Send(context.Background(), "@alice", client.SendText{Body: client.TextBody{Text: "Note to self"}})
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		fmt.Println(problem.Status, problem.Code)
	}

	// Output:
	// 422 direct_with_self
}

// A message without a response may have been stored or not. Sent again with the same
// client_id it is created once.
func ExampleSendError() {
	server := startServer()
	alice, err := client.New(server.URL, client.Options{Token: server.token("alice"), SendTimeout: 10 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	server.close()

	id := "draft-2"
	_, err = alice.Send(context.Background(), "@bob", client.SendText{Body: client.TextBody{Text: "Hello"}, ClientID: &id})
	if unsent, ok := errors.AsType[*client.SendError](err); ok {
		outbox, err := json.Marshal(map[string]string{"client_id": unsent.ClientID, "text": "Hello"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(errors.Is(unsent, client.ErrUnreachable), string(outbox))
	}

	// Output:
	// true {"client_id":"draft-2","text":"Hello"}
}

// A bot pushes the answer of a language model word by word while Alice reads, and ends with the
// whole text as a message.
func ExampleClient_Frames() {
	server := startServer()
	defer server.close()
	ctx := context.Background()
	bot := server.client("bot")
	alice := server.client("alice")
	if _, err := alice.Send(ctx, "@bot", client.SendText{Body: client.TextBody{Text: "Who was Ada Lovelace?"}}); err != nil {
		log.Fatal(err)
	}
	conversation := "@alice"
	started, err := bot.CreateDataStreamWithResponse(ctx, nil, client.CreateDataStream{ConversationID: &conversation, Access: client.StreamAccessMembers})
	if err != nil {
		log.Fatal(err)
	}
	stream := started.JSON201.ID

	words := []string{"She", "wrote", "the", "first", "program."}
	read := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for item, err := range alice.Frames(ctx, stream, client.EventsOptions{}) {
			switch {
			case err != nil:
				log.Fatal(err)
			case item.Frame != nil:
				fmt.Print(*item.Frame.Text, " ")
				if *item.Frame.Text == words[len(words)-1] {
					close(read)
				}
			case item.Ended != nil:
				fmt.Printf("(%s)\n", item.Ended.Reason)
			}
		}
	})

	pusher, err := bot.Push(ctx, stream, "")
	if err != nil {
		log.Fatal(err)
	}
	for _, word := range words {
		if err := pusher.Text(0, word); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := pusher.Close(); err != nil {
		log.Fatal(err)
	}
	<-read // without readers, the end of a data stream drops its frames
	var message client.SendMessage
	if err := message.FromSendText(client.SendText{Body: client.TextBody{Text: "She wrote the first program."}}); err != nil {
		log.Fatal(err)
	}
	if _, err := bot.EndDataStreamWithResponse(ctx, stream, nil, client.EndDataStream{Message: &message}); err != nil {
		log.Fatal(err)
	}
	done.Wait()
	// Output:
	// She wrote the first program. (message)
}
