package main

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// TestKilledDuringAServerSend kills the server in the middle of a send to 500 users, again and
// again, and repeats the request until it is answered. Each user has the message once.
func TestKilledDuringAServerSend(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t)
	step := steps.Begin(t)
	admin, support := s.admin(), s.client("support", "")
	request := client.SendAs{As: "support"}
	for n := range im.MaxSendAs {
		request.To = append(request.To, fmt.Sprintf("@user%d", n))
	}
	clientID := "maintenance-7"
	text := client.SendText{ClientID: &clientID, Type: client.SendTextTypeText, Body: client.TextBody{Text: "We are back."}}
	if err := request.Message.FromSendText(text); err != nil {
		t.Fatal(err)
	}
	// sent counts the messages of each conversation, and of all.
	sent := func() (map[string]int, int) {
		t.Helper()
		by, all := make(map[string]int), 0
		for _, e := range eventLog(t, support) {
			if e.Type == client.EventTypeMessageCreated {
				by[*e.ConversationID]++
				all++
			}
		}
		return by, all
	}

	before := 0
	for kill := range testsize.Pick(8, 3) {
		step(fmt.Sprint("kill ", kill+1))
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = admin.SendMessagesAsWithResponse(ctx, &client.SendMessagesAsParams{}, request) // the answer is cut off
		}()
		await.Until(t, "a part is sent", func() bool { _, n := sent(); return n > before })
		s.kill()
		<-answered
		s.start()
		_, after := sent()
		if after < before {
			t.Errorf("kill %d: %d messages were stored before and %d are after", kill+1, before, after)
		}
		if before = after; before == len(request.To) {
			t.Logf("kill %d came too late: the test was slower than the server", kill+1)
			break
		}
	}
	step("repeat it to its end")
	there := before
	res, err := admin.SendMessagesAsWithResponse(ctx, &client.SendMessagesAsParams{}, request)
	if err != nil {
		t.Fatal(err)
	}
	counted := make(map[int]int)
	for i, result := range res.JSON200.Items {
		counted[result.Status]++
		if result.To != request.To[i] || result.Message == nil || result.Message.State != client.MessageStateActive {
			t.Errorf("the result for %s is %+v", request.To[i], result)
		}
	}
	if counted[200] != there || counted[200]+counted[201] != len(request.To) {
		t.Errorf("%d messages were stored, the statuses are %v", there, counted)
	}
	by, all := sent()
	if len(by) != len(request.To) || all != len(request.To) {
		t.Errorf("%d messages in %d conversations, want one in each of %d", all, len(by), len(request.To))
	}
	if res, err := s.client("user499", "").ListMessagesWithResponse(ctx, "@support", &client.ListMessagesParams{}); err != nil || len(res.JSON200.Items) != 1 {
		t.Errorf("the last user's messages: %v", err)
	}
}
