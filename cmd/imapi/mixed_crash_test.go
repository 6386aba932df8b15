package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
)

// mixedMark is in everything that is written in TestKilledUnderMixedLoad.
const mixedMark = "zqmixedload"

// mixedLoad is the concurrent work of clients, and what the server has acknowledged of it.
type mixedLoad struct {
	*server
	group string
	ctx   context.Context // its end stops the repetition of requests
	stop  chan struct{}   // closed when no new work may begin
	done  atomic.Int64    // acknowledged pieces of work

	mu      sync.Mutex
	sent    map[string]string // texts by the id of their message
	revoked map[string]bool   // ids of messages
	files   map[string][]byte // contents by the id of their attachment
	fileOf  map[string]string // the attachment of a message
}

// untilAnswered repeats a request until the server answers with a status below 500. The error is a
// refusal, or the end of the test.
func (l *mixedLoad) untilAnswered(request func() error) error {
	for l.ctx.Err() == nil {
		err := request()
		refusal, refused := errors.AsType[*client.Problem](err)
		if err == nil || refused && refusal.Status < http.StatusInternalServerError {
			return err
		}
		time.Sleep(10 * time.Millisecond) // the server was killed, and needs the processor to start
	}
	return l.ctx.Err()
}

// work repeats a numbered piece of work until the load stops.
func (l *mixedLoad) work(all *sync.WaitGroup, name string, piece func(i int) error) {
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := piece(i); err != nil {
				if l.ctx.Err() == nil {
					l.t.Errorf("%s %d: %v", name, i, err)
				}
				return
			}
			l.done.Add(1)
		}
	})
}

func (l *mixedLoad) acknowledge(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// revoke revokes a message. A repetition after a kill finds it revoked.
func (l *mixedLoad) revoke(c *client.Client, id string) error {
	err := l.untilAnswered(func() error {
		_, err := c.RevokeMessageWithResponse(l.ctx, id, &client.RevokeMessageParams{}, client.Revoke{})
		return err
	})
	if refusal, ok := errors.AsType[*client.Problem](err); ok && refusal.Code == "already_revoked" {
		err = nil
	}
	if err == nil {
		l.acknowledge(func() { l.revoked[id] = true })
	}
	return err
}

// send sends texts, and revokes a third of them.
func (l *mixedLoad) send(c *client.Client) func(int) error {
	return func(i int) error {
		text := fmt.Sprint(mixedMark, " text ", i)
		m, err := sayUntilAnswered(l.ctx, c, l.group, fmt.Sprint("text-", i), text)
		if err != nil {
			return err
		}
		l.acknowledge(func() { l.sent[m.ID] = text })
		if i%3 != 0 {
			return nil
		}
		return l.revoke(c, m.ID)
	}
}

// upload sends files, and revokes half of them.
func (l *mixedLoad) upload(c *client.Client) func(int) error {
	return func(i int) error {
		content := []byte(strings.Repeat(fmt.Sprint(mixedMark, " file ", i, "\n"), 4000))
		var file client.Attachment
		err := l.untilAnswered(func() (err error) {
			file, err = c.Upload(l.ctx, "notes.txt", bytes.NewReader(content))
			return err
		})
		if err != nil {
			return err
		}
		id := fmt.Sprint("file-", i)
		var draft client.SendMessage
		err = draft.FromSendFile(client.SendFile{ClientID: &id, Type: client.SendFileTypeFile, Body: client.AttachmentBody{AttachmentID: file.ID}})
		if err != nil {
			return err
		}
		var m *client.Message
		err = l.untilAnswered(func() error {
			res, err := c.SendMessageWithResponse(l.ctx, l.group, &client.SendMessageParams{}, draft)
			if err == nil {
				m = cmp.Or(res.JSON201, res.JSON200)
			}
			return err
		})
		if err != nil {
			return err
		}
		l.acknowledge(func() { l.files[file.ID], l.fileOf[m.ID] = content, file.ID })
		if i%2 != 0 {
			return nil
		}
		return l.revoke(c, m.ID)
	}
}

// stream pushes to data streams, which do not survive a kill, and ends them with a message.
func (l *mixedLoad) stream(c *client.Client) func(int) error {
	return func(i int) error {
		started, err := c.CreateDataStreamWithResponse(l.ctx, nil, client.CreateDataStream{ConversationID: &l.group, Access: client.StreamAccessMembers})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			return nil //nolint:nilerr // the server was killed
		}
		id := started.JSON201.ID
		if p, err := c.Push(l.ctx, id, ""); err == nil {
			for n := range 100 {
				if p.Text(0, fmt.Sprint(mixedMark, " frame ", n)) != nil {
					break
				}
			}
			_, _ = p.Close()
		}
		text := fmt.Sprint(mixedMark, " answer ", i)
		var last client.SendMessage
		if err := last.FromSendText(client.SendText{Type: client.SendTextTypeText, Body: client.TextBody{Text: text}}); err != nil {
			return err
		}
		ended, err := c.EndDataStreamWithResponse(l.ctx, id, nil, client.EndDataStream{Message: &last})
		if err == nil {
			l.acknowledge(func() { l.sent[*ended.JSON200.Ended.MessageID] = text })
		}
		return nil
	}
}

// serverSends is the number of recipients of a server send.
const serverSends = 20

// sendAs sends to users as the server.
func (l *mixedLoad) sendAs(admin *client.Client) func(int) error {
	return func(i int) error {
		id, text := fmt.Sprint("notice-", i), fmt.Sprint(mixedMark, " notice ", i)
		request := client.SendAs{As: "support"}
		for n := range serverSends {
			request.To = append(request.To, fmt.Sprint("@user", n))
		}
		if err := request.Message.FromSendText(client.SendText{ClientID: &id, Type: client.SendTextTypeText, Body: client.TextBody{Text: text}}); err != nil {
			return err
		}
		for l.ctx.Err() == nil {
			var items []client.SendAsResult
			err := l.untilAnswered(func() error {
				res, err := admin.SendMessagesAsWithResponse(l.ctx, &client.SendMessagesAsParams{}, request)
				if err == nil {
					items = res.JSON200.Items
				}
				return err
			})
			if err != nil {
				return err
			}
			missing := 0
			for _, item := range items {
				if item.Message == nil {
					missing++
					continue
				}
				l.acknowledge(func() { l.sent[item.Message.ID] = text })
			}
			if missing == 0 {
				return nil
			}
		}
		return l.ctx.Err()
	}
}

// TestKilledUnderMixedLoad kills the server while clients send, revoke, upload, push to data
// streams and send as the server, and a webhook and a stream receive. Nothing that was
// acknowledged is lost, nothing that was erased can be read, and everything is delivered.
func TestKilledUnderMixedLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("each kind of load has a short test of its own")
	}
	t.Parallel()
	const kills = 6
	s := newRacedServer(t, "--webhooks-allow-private")
	s.start()
	step := steps.Begin(t)
	r := newReceiver(t)
	hook := s.hook(r, "message.created", "message.revoked")
	alice, bob := s.client("alice", "phone"), s.client("bob", "phone")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	l := &mixedLoad{
		server: s, group: s.group(alice, "bob"), ctx: ctx, stop: make(chan struct{}),
		sent: map[string]string{}, revoked: map[string]bool{}, files: map[string][]byte{}, fileOf: map[string]string{},
	}
	var working, following sync.WaitGroup
	stop := sync.OnceFunc(func() { close(l.stop) })
	defer func() { // even when the test fails, because none of them may log after its end
		stop()
		cancel()
		working.Wait()
		following.Wait()
	}()
	heard := make(chan string, 1<<16)
	<-resuming(ctx, t, &following, bob, "", func(e client.Event) {
		if e.Type == client.EventTypeMessageCreated {
			heard <- *e.MessageID
		}
	})
	l.work(&working, "send", l.send(s.client("alice", "sender")))
	l.work(&working, "upload", l.upload(s.client("alice", "uploader")))
	l.work(&working, "stream", l.stream(s.client("alice", "bot")))
	l.work(&working, "send as", l.sendAs(s.admin()))

	step("kill the server under load")
	for range kills {
		until := l.done.Load() + 1 + rand.Int64N(60)
		await.Until(t, "more is acknowledged", func() bool { return l.done.Load() >= until || t.Failed() })
		s.kill()
		s.start()
	}
	stop()
	working.Wait()

	step("nothing acknowledged is lost, nothing erased can be read")
	t.Logf("%d pieces of work: %d messages, %d files, %d revoked", l.done.Load(), len(l.sent), len(l.files), len(l.revoked))
	support := s.client("support", "")
	l.messagesAre(alice, support)
	l.filesAre(bob)
	step("each target of a server send has it once")
	noticesAreOnce(t, support)
	step("bob's stream and the webhook receive everything")
	there := make(map[string]bool)
	for _, m := range history(t, bob, l.group) {
		there[m.ID] = true
	}
	l.allHeard(there, heard)
	await.Until(t, "the webhook is at the end of the log", func() bool { now := s.hookNow(hook.ID); return now.Behind == 0 })
	l.allDelivered(there, r)

	step("the files are intact, and have nothing in the clear")
	err := copyFiles(s.data, t.TempDir(), nil, func(name string, b []byte) {
		if bytes.Contains(b, []byte(mixedMark)) {
			t.Errorf("%s has content in the clear", name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := s.mustCommand("", "verify"); !strings.Contains(out, "0 problems") {
		t.Errorf("verify: %s", out)
	}
	cancel()
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	integrity(t, s.data)
}

// messagesAre checks that every acknowledged message is there, and that those that were revoked have
// no content.
func (l *mixedLoad) messagesAre(alice, support *client.Client) {
	l.t.Helper()
	for id, text := range l.sent {
		reader := alice
		if strings.Contains(text, "notice") {
			reader = support
		}
		res, err := reader.GetMessageWithResponse(l.ctx, id, nil)
		if err != nil {
			l.t.Errorf("%q is lost: %v", text, err)
			continue
		}
		m := res.JSON200
		if l.revoked[id] != (m.State == client.MessageStateRevoked) || l.revoked[id] != (m.Body == nil || string(m.Body) == "null") || !l.revoked[id] && textOf(m.Body) != text {
			l.t.Errorf("%q, revoked %t, is %s with %s", text, l.revoked[id], m.State, m.Body)
		}
	}
}

// filesAre checks that every acknowledged file can be read, and no file of a revoked message.
func (l *mixedLoad) filesAre(bob *client.Client) {
	l.t.Helper()
	for message, file := range l.fileOf {
		body, err := bob.Download(l.ctx, file)
		if l.revoked[message] {
			if err == nil {
				l.t.Errorf("the file of %s can be read although it was revoked", message)
				_ = body.Close()
			}
			continue
		}
		if err != nil {
			l.t.Errorf("the file of %s is lost: %v", message, err)
			continue
		}
		got, err := io.ReadAll(body)
		_ = body.Close()
		if err != nil || !bytes.Equal(got, l.files[file]) {
			l.t.Errorf("the file of %s: %d bytes, %v", message, len(got), err)
		}
	}
}

// noticesAreOnce checks that no conversation has a server send twice.
func noticesAreOnce(t *testing.T, support *client.Client) {
	t.Helper()
	notices := make(map[string]int)
	for _, e := range eventLog(t, support) {
		if e.Type == client.EventTypeMessageCreated {
			notices[*e.ConversationID+" "+textOf(e.Message.Body)]++
		}
	}
	for notice, n := range notices {
		if n != 1 {
			t.Errorf("%q is there %d times", notice, n)
		}
	}
}

// allHeard waits until a stream has received every message of the group, and checks that it receives
// none twice.
func (l *mixedLoad) allHeard(ofGroup map[string]bool, heard <-chan string) {
	l.t.Helper()
	missing := maps.Clone(ofGroup)
	for len(missing) > 0 {
		select {
		case id := <-heard:
			switch {
			case missing[id]:
				delete(missing, id)
			case ofGroup[id]:
				l.t.Errorf("bob has received message %s twice", id)
			default: // in another conversation
			}
		case <-time.After(patience):
			l.t.Fatalf("bob has not received %d messages of %d", len(missing), len(ofGroup))
		}
	}
}

// allDelivered checks that the webhook has received the messages of the group and all that were
// acknowledged, those of each conversation in order.
func (l *mixedLoad) allDelivered(ofGroup map[string]bool, r *receiver) {
	l.t.Helper()
	delivered, seqs := make(map[string]bool), make(map[string]int64)
	for _, request := range r.all() {
		m := request.payload.Data.Message
		if request.payload.Type != "message.created" || delivered[m.ID] {
			continue
		}
		if seqs[m.ConversationID]++; m.Seq != seqs[m.ConversationID] {
			l.t.Errorf("the webhook received message %d of %s as its number %d", m.Seq, m.ConversationID, seqs[m.ConversationID])
		}
		delivered[m.ID] = true
	}
	want := maps.Clone(ofGroup)
	for id := range l.sent {
		want[id] = true
	}
	for id := range want {
		if !delivered[id] {
			l.t.Errorf("the webhook has not received message %s", id)
		}
	}
}
