package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/imapi/imapi/im"
)

const retentionSummary = `Trim messages past retention, as the server does by itself every --retention-interval.
For each conversation, print its id, the number of messages, and the time before which
they were created. With --dry-run, print the same and trim nothing: a run with the same
--as-of trims exactly those messages. A running server trims by its own --retention; with
--dry-run, --retention shows what it would trim with another one.`

// runRetention trims messages past retention, or prints what it would trim.
func runRetention(ctx context.Context, args []string, out, diag io.Writer) error {
	var a adminFlags
	f := newFlags("retention", retentionSummary, diag)
	a.add(f)
	a.addPolicy(f)
	f.clockGuard(&a.policy)
	dry := f.Bool("dry-run", false, "print what would be trimmed, and trim nothing")
	asOf := f.String("as-of", "", "the `time` by which messages are past retention, not in the future, such as 2026-01-02T03:04:05Z; now by default")
	if err := f.parse(args); err != nil {
		return err
	}
	if *asOf != "" {
		if _, err := time.Parse(time.RFC3339, *asOf); err != nil {
			return misuse("--as-of: must be a time such as 2026-01-02T03:04:05Z")
		}
	}
	if err := a.check(); err != nil {
		return err
	}
	server, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer server.close()
	if server.local != nil && a.policy.Retention == 0 && a.policy.RetentionMax == 0 {
		_, _ = fmt.Fprintln(diag, "no server is running and --retention is not given: only conversations with a retention of their own count")
	}
	query := url.Values{}
	if *asOf != "" {
		query.Set("as_of", *asOf)
	}
	if server.local == nil {
		switch {
		case f.given["retention-max"]:
			return misuse("--retention-max: a server is running, and uses its own")
		case f.given["retention"] && !*dry:
			return misuse("--retention: a server is running, and trims by its own; with --dry-run, see what it would trim with another")
		case f.given["retention"]:
			query.Set("retention", im.FormatRetention(a.policy.Retention))
		}
	}
	t := &retentionTable{out: out}
	if *dry {
		err = whatIsLeft(ctx, t.preview(ctx, server, query), "the list is not complete; nothing was trimmed")
	} else {
		err = whatIsLeft(ctx, t.trim(ctx, server, query), "the conversations in the list were trimmed; run it again for the others")
	}
	if err == nil {
		err = t.total()
	}
	return err
}

// retentionTable prints the effect of retention, a line per conversation.
type retentionTable struct {
	out                     io.Writer
	conversations, messages int64
	asOf                    string
}

type retentionLine struct {
	ConversationID string `json:"conversation_id"`
	Messages       int64  `json:"messages"`
	Before         string `json:"before"`
}

func (t *retentionTable) add(l retentionLine) error {
	t.conversations++
	t.messages += l.Messages
	_, err := fmt.Fprintf(t.out, "%s\t%d\t%s\n", l.ConversationID, l.Messages, l.Before)
	return err
}

func (t *retentionTable) total() error {
	asOf := ""
	if t.asOf != "" {
		asOf = " as of " + t.asOf
	}
	_, err := fmt.Fprintf(t.out, "total\t%d messages of %d conversations%s\n", t.messages, t.conversations, asOf)
	return err
}

// preview prints what a run would trim.
func (t *retentionTable) preview(ctx context.Context, server *admin, query url.Values) error {
	for {
		res, err := server.do(ctx, http.MethodGet, "/v1/admin/retention?"+query.Encode(), "", nil)
		if err != nil {
			return err
		}
		var page struct {
			AsOf  string          `json:"as_of"`
			Items []retentionLine `json:"items"`
			Next  string          `json:"next_page_token"`
		}
		err = json.NewDecoder(res.Body).Decode(&page)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		t.asOf = page.AsOf
		for _, l := range page.Items {
			if err := t.add(l); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("page_token", page.Next)
	}
}

// trim runs retention and prints what it trims.
func (t *retentionTable) trim(ctx context.Context, server *admin, query url.Values) error {
	res, err := server.do(ctx, http.MethodPost, "/v1/admin/retention?"+query.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return eachLine(res.Body, t.add)
}
