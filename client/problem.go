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

// maxAnswer is the maximum size of a response, in bytes.
const maxAnswer = 16 << 20

// Error returns the status, the code (or the title if there is no code), the detail and the
// offending field.
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

// readProblem decodes the problem in a response. A response that is not a problem, such as one from
// a proxy, yields a problem without a code.
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
	// Proxies and this client go by the status line, not by the body.
	problem.Status = response.StatusCode
	return &problem
}

// retryAfter returns the wait in a Retry-After header, 0 if there is none. It reads only the form
// that the server sends, in seconds, and ignores a wait of more than 65,535 s.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
