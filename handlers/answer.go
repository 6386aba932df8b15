package handlers

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/imapi/imapi/im"
)

// answer is a response of encoded JSON, into which stored JSON was spliced.
type answer struct {
	status int
	body   *[]byte // of answerBuffers
}

// answerBuffers are buffers for reuse: a page of history takes tens of kilobytes. Buffers
// over maxAnswerBuffer are not reused.
var answerBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 1<<10)) }}

const maxAnswerBuffer = 256 << 10

// answerWith returns an answer with the body that appendBody appends.
func answerWith(status int, appendBody func([]byte) []byte) answer {
	body, _ := answerBuffers.Get().(*[]byte)
	*body = append(appendBody((*body)[:0]), '\n')
	return answer{status, body}
}

// answerPage returns an answer with a page of a list. next is the token of the next page, nil
// on the last one. add, which may be nil, adds further members to the page.
func answerPage[T any](items []T, appendItem func([]byte, T) []byte, next *string, add func(*jsonObject)) answer {
	return answerWith(http.StatusOK, func(buf []byte) []byte {
		o := openObject(buf)
		addList(&o, "items", items, appendItem)
		if next != nil {
			o.text("next_page_token", *next)
		} else {
			o.null("next_page_token")
		}
		if add != nil {
			add(&o)
		}
		return o.close()
	})
}

func answerMessage(status int, m im.Message) answer {
	return answerWith(status, func(buf []byte) []byte { return appendMessage(buf, m) })
}

func answerConversation(status int, v im.ConversationView) answer {
	return answerWith(status, func(buf []byte) []byte { return appendConversation(buf, v) })
}

// write writes the answer. It must be called at most once: the buffer is reused.
func (a answer) write(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(*a.body)))
	w.WriteHeader(a.status)
	_, err := w.Write(*a.body)
	if cap(*a.body) <= maxAnswerBuffer {
		answerBuffers.Put(a.body)
	}
	return err
}

// The generated code requires a method for each operation.

// VisitSendMessageResponse writes the answer.
func (a answer) VisitSendMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitSendMessagesAsResponse writes the answer.
func (a answer) VisitSendMessagesAsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitInsertMessageResponse writes the answer.
func (a answer) VisitInsertMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetMessageResponse writes the answer.
func (a answer) VisitGetMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDeleteMessageResponse writes the answer.
func (a answer) VisitDeleteMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRevokeMessageResponse writes the answer.
func (a answer) VisitRevokeMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitBurnMessageResponse writes the answer.
func (a answer) VisitBurnMessageResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListMessagesResponse writes the answer.
func (a answer) VisitListMessagesResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitSearchMessagesResponse writes the answer.
func (a answer) VisitSearchMessagesResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListErasedResponse writes the answer.
func (a answer) VisitListErasedResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateConversationResponse writes the answer.
func (a answer) VisitCreateConversationResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetConversationResponse writes the answer.
func (a answer) VisitGetConversationResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitUpdateConversationResponse writes the answer.
func (a answer) VisitUpdateConversationResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListConversationsResponse writes the answer.
func (a answer) VisitListConversationsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitJoinConversationResponse writes the answer.
func (a answer) VisitJoinConversationResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateChannelResponse writes the answer.
func (a answer) VisitCreateChannelResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateThreadResponse writes the answer.
func (a answer) VisitCreateThreadResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetThreadResponse writes the answer.
func (a answer) VisitGetThreadResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListThreadsResponse writes the answer.
func (a answer) VisitListThreadsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListMyThreadsResponse writes the answer.
func (a answer) VisitListMyThreadsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitListChannelsResponse writes the answer.
func (a answer) VisitListChannelsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetEventsResponse writes the answer.
func (a answer) VisitGetEventsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetEventLogResponse writes the answer.
func (a answer) VisitGetEventLogResponse(w http.ResponseWriter) error { return a.write(w) }
