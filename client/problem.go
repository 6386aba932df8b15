package client

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 16 << 20

// Error returns the status, the code, the detail and the field at fault.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%d %s", p.Status, p.Title)
	if p.Code != "" {
		text = fmt.Sprintf("%d %s", p.Status, p.Code)
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	if p.Field != nil && *p.Field != "" {
		text += " (" + *p.Field + ")"
	}
	return text
}

// readProblem reads the refusal in an answer. What something in between has
// answered, in whatever form, is a problem without a code.
func readProblem(response *http.Response) *Problem {
	plain := &Problem{
		Type: "about:blank", Status: response.StatusCode, Title: http.StatusText(response.StatusCode),
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		return plain
	}
	var problem Problem
	if json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&problem) != nil {
		return plain
	}
	// The status of the answer is the one that was acted on, here and in
	// between.
	problem.Status = response.StatusCode
	return &problem
}

// retryAfter returns how long the server asks to wait, 0 if it does not say.
// Of the two forms of the header it knows the one that the server sends:
// seconds.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
