package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/imapi/imapi/jsonscan"
)

// device is the device of all requests. Streams have others, because a device does not
// receive what it sent itself.
const device = "load"

// worker runs operations one after another, on one connection.
type worker struct {
	*run
	conn conn
	body []byte
	text []byte
}

// operation does one thing. due is when it should have begun. The answer is that of the
// request that decides the outcome.
type operation func(w *worker, ctx context.Context, due time.Time) (answer, error)

// operations has the operations of a load by name.
var operations map[string]operation

func init() {
	operations = map[string]operation{
		"send":      (*worker).send,
		"history":   (*worker).history,
		"list":      (*worker).list,
		"unread":    (*worker).unread,
		"read":      (*worker).read,
		"search":    (*worker).search,
		"revoke":    (*worker).revoke,
		"upload":    (*worker).upload,
		"replay":    (*worker).replay,
		"reconnect": (*worker).reconnect,
	}
}

// someone returns a conversation and one of its members.
func (w *worker) someone() (*conversation, *user) {
	c := w.world.conversations[rand.IntN(len(w.world.conversations))] //nolint:gosec // spreads load, hides nothing
	return c, c.members[rand.IntN(len(c.members))]                    //nolint:gosec // the same
}

// get sends a request that reads.
func (w *worker) get(u *user, path string, query url.Values) (answer, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return w.conn.do(&request{method: http.MethodGet, path: path, token: u.token, device: device})
}

// post sends a request with a JSON body.
func (w *worker) post(u *user, path string, body []byte) (answer, error) {
	return w.conn.do(&request{method: http.MethodPost, path: path, token: u.token, device: device, contentType: "application/json", body: body})
}

// send sends a text.
func (w *worker) send(_ context.Context, due time.Time) (answer, error) {
	c, u := w.someone()
	return w.sendTo(c, u, w.clientID(due))
}

func (w *worker) sendTo(c *conversation, u *user, clientID string) (answer, error) {
	w.text = appendText(w.text[:0], w.config.textBytes)
	w.body = fmt.Appendf(w.body[:0], `{"client_id":"%s","type":"text","body":{"text":"%s"}}`, clientID, w.text)
	return w.sent(c, u)
}

// sent sends the message in w.body and records the answer.
func (w *worker) sent(c *conversation, u *user) (answer, error) {
	a, err := w.post(u, "/v1/conversations/"+c.id+"/messages", w.body)
	if err != nil || a.status != http.StatusCreated {
		return a, err
	}
	seq, err := strconv.ParseInt(string(jsonscan.Member(a.body, "seq")), 10, 64)
	if err != nil {
		return a, fmt.Errorf("the answer has no seq: %w", err)
	}
	id := member(a.body, "id")
	c.answered(id, seq)
	w.recent.add(sentMessage{id: id, by: u, at: time.Now()})
	return a, nil
}

// member returns a member of an object that is a string without escapes.
func member(object []byte, name string) string {
	return strings.Trim(string(jsonscan.Member(object, name)), `"`)
}

// history reads a page of 50 messages at a random position.
func (w *worker) history(context.Context, time.Time) (answer, error) {
	c, u := w.someone()
	q := url.Values{"limit": {"50"}}
	if newest := c.newest.Load(); newest > 50 {
		q.Set("before_seq", strconv.FormatInt(51+rand.Int64N(newest-49), 10)) //nolint:gosec // spreads load
	}
	return w.get(u, "/v1/conversations/"+c.id+"/messages", q)
}

// list reads the first page of the conversations of a user.
func (w *worker) list(context.Context, time.Time) (answer, error) {
	_, u := w.someone()
	return w.get(u, "/v1/conversations", url.Values{"limit": {"50"}})
}

// unread reads the unread counts of a user.
func (w *worker) unread(context.Context, time.Time) (answer, error) {
	_, u := w.someone()
	return w.get(u, "/v1/unread", nil)
}

// read marks a conversation as read. If it is a room, which has no receipts, or has no message yet,
// read reads the unread counts instead.
func (w *worker) read(context.Context, time.Time) (answer, error) {
	c, u := w.someone()
	id := c.newestID.Load()
	if id == nil || w.config.kind == "room" { // rooms have no receipts
		return w.get(u, "/v1/unread", nil)
	}
	w.body = fmt.Appendf(w.body[:0], `{"kind":"read","up_to":"%s"}`, *id)
	return w.post(u, "/v1/conversations/"+c.id+"/receipts", w.body)
}

// search reads a page of 20 hits for one or two words.
func (w *worker) search(context.Context, time.Time) (answer, error) {
	c, u := w.someone()
	q := url.Values{"limit": {"20"}, "q": {word() + " " + word()}, "conversation_id": {c.id}}
	if rand.IntN(2) == 0 { //nolint:gosec // spreads load
		q.Set("q", word())
		q.Del("conversation_id")
	}
	return w.get(u, "/v1/messages/search", q)
}

// revoke revokes a recent message, or sends one if there is none.
func (w *worker) revoke(ctx context.Context, due time.Time) (answer, error) {
	m, ok := w.recent.take()
	if !ok {
		return w.send(ctx, due)
	}
	return w.post(m.by, "/v1/messages/"+m.id+"/revoke", []byte("{}"))
}

// upload uploads a file and sends it. If the upload fails, it returns the answer to the upload.
func (w *worker) upload(_ context.Context, due time.Time) (answer, error) {
	c, u := w.someone()
	a, err := w.conn.do(&request{
		method: http.MethodPost, path: "/v1/attachments?name=load.bin", token: u.token, device: device,
		contentType: "application/octet-stream", body: w.file,
	})
	if err != nil || a.status != http.StatusCreated {
		return a, err
	}
	w.body = fmt.Appendf(w.body[:0], `{"client_id":"%s","type":"file","body":{"attachment_id":"%s"}}`, w.clientID(due), member(a.body, "id"))
	return w.sent(c, u)
}

// replay opens a stream whose cursor is at the beginning of the run, and reads as many messages as
// the conversations of the user were filled with.
func (w *worker) replay(ctx context.Context, _ time.Time) (answer, error) {
	_, u := w.someone()
	s, err := openStream(ctx, &w.endpoint, u.token, "replay-"+strconv.FormatUint(rand.Uint64(), 36), w.world.start, 32<<10) //nolint:gosec // a name
	if err != nil {
		return answer{}, err
	}
	defer s.close()
	defer context.AfterFunc(ctx, s.close)()
	for n := 0; n < w.config.fill*len(w.world.of[u]); {
		f, err := s.next()
		if err != nil {
			return answer{}, err
		}
		if f.event == messageCreated {
			if n++; w.measures(time.Now()) {
				w.replayed.Add(1)
			}
		}
	}
	return answer{status: http.StatusOK}, nil
}

// reconnect closes one of the streams and waits until it has resumed. Without streams it reads the
// unread counts.
func (w *worker) reconnect(ctx context.Context, _ time.Time) (answer, error) {
	if len(w.listeners) == 0 {
		return w.unread(ctx, time.Time{})
	}
	w.deliveries.reconnects.Add(1)
	l := w.listeners[rand.IntN(len(w.listeners))] //nolint:gosec // spreads load
	if err := l.reconnect(ctx); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK}, nil
}

// syllables make up the words of texts. Pairs of them are 400 words, so that a search for one word
// finds a few percent of the messages.
var syllables = []string{"ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "xo", "zu", "cha", "ke", "li", "mo", "nu"}

func word() string {
	n := rand.IntN(len(syllables) * len(syllables)) //nolint:gosec // a word
	return syllables[n/len(syllables)] + syllables[n%len(syllables)]
}

// appendText appends a random text of size bytes.
func appendText(b []byte, size int) []byte {
	for begin := len(b); ; b = append(b, ' ') {
		if b = append(b, word()...); len(b)-begin >= size {
			return b[:begin+size]
		}
	}
}
