package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/tty"
)

const sendSummary = `Send TEXT, or with --file files, to a user or a conversation, and print the id of each
message. Without TEXT and --file, or if TEXT is -, the text is read from standard input.
The text is sent first, then each file in a message of its own; nothing is sent before
all files are uploaded. If there is no answer, the message is sent once more without
being created twice.`

// sendFlags are the flags of imapi send.
type sendFlags struct {
	connection
	target
	files         list
	burn, expires time.Duration
	clientID      string
	asJSON        bool
}

// list is a flag that can be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

// Set implements [flag.Value].
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// runSend sends messages.
func runSend(ctx context.Context, args []string, out, diag io.Writer) error {
	var s sendFlags
	f := newFlagsWithFiles("send", "[TEXT]", sendSummary, diag)
	s.connection.add(f)
	s.target.add(f)
	f.Var(&s.files, "file", "the `path` of a file to send; may be given several times")
	f.DurationVar(&s.burn, "burn", 0, "the `duration`, in whole seconds, after which a direct message burns once it has been read")
	f.DurationVar(&s.expires, "expires", 0, "the `duration`, in whole seconds, after which the message expires")
	f.StringVar(&s.clientID, "client-id", "", "the `id` under which a repeated command sends only once; for one message")
	f.BoolVar(&s.asJSON, "json", false, "print each message as one JSON object instead of its id")
	texts, err := f.parseWithFiles(args)
	if err != nil {
		return err
	}
	conversation, err := s.path()
	if err != nil {
		return err
	}
	if err := s.check(texts); err != nil {
		return err
	}
	c, err := s.open(f)
	if err != nil {
		return err
	}
	files, err := openFiles(ctx, s.files)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer closeFiles(files)
	text, err := textToSend(ctx, texts, len(files) > 0)
	if err != nil {
		return interrupted(ctx, err)
	}
	drafts, err := s.drafts(ctx, c, text, files, diag)
	if err != nil {
		return interrupted(ctx, s.explain(err))
	}
	for i, draft := range drafts {
		sent, err := c.Send(ctx, conversation, draft)
		if err != nil {
			return interrupted(ctx, s.undelivered(err, i, len(drafts)))
		}
		if err := s.print(out, sent); err != nil {
			return err
		}
	}
	return nil
}

// interrupted returns a shorter error than err if the command was interrupted. It returns err
// unchanged if that wraps a [client.SendError].
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if _, ok := errors.AsType[*client.SendError](err); ok {
		return err
	}
	return errors.New("interrupted; what was not printed was not sent")
}

func (s *sendFlags) check(texts []string) error {
	for name, d := range map[string]time.Duration{"burn": s.burn, "expires": s.expires} {
		if d < 0 || d%time.Second != 0 {
			return misuse("--%s: must be whole seconds, such as 10s, 5m or 24h", name)
		}
	}
	messages := len(s.files)
	if len(texts) > 0 || messages == 0 {
		messages++
	}
	switch {
	case len(texts) > 1:
		return misuse(`quote a text with spaces, as in: imapi send --to bob "hello there"`)
	case s.clientID != "" && messages > 1:
		return misuse("--client-id is for one message, and this command sends %d", messages)
	default:
		return nil
	}
}

// maxInput is the largest text that is read from standard input; servers allow less.
const maxInput = 1 << 20

// textToSend returns the text of a message, "" if there is none.
func textToSend(ctx context.Context, texts []string, files bool) (string, error) {
	var text string
	switch {
	case len(texts) == 1 && texts[0] != "-":
		text = texts[0]
	case len(texts) == 0 && files:
		return "", nil
	case len(texts) == 0 && tty.Is(os.Stdin):
		return "", misuse(`no text: give it as an argument, or pipe it into the command; - reads what you type until Ctrl-D`)
	default:
		b, err := unlessInterrupted(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(os.Stdin, maxInput+1)) })
		if err != nil {
			return "", fmt.Errorf("read standard input: %w", err)
		}
		if len(b) > maxInput {
			return "", errors.New("the text on standard input is too long for a message; send it as a file with --file")
		}
		// The line feed with which every command ends its output is not part of the text.
		text = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	switch {
	case text == "":
		return "", misuse("the text is empty")
	case !utf8.ValidString(text):
		return "", misuse("the text is not UTF-8; send it as a file with --file")
	default:
		return text, nil
	}
}

// openFiles opens all files before anything is sent.
func openFiles(ctx context.Context, paths []string) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(files)
		}
	}()
	for _, path := range paths {
		f, err := unlessInterrupted(ctx, func() (*os.File, error) { return os.Open(path) })
		if err != nil {
			return files, fmt.Errorf("--file: %w", err)
		}
		files = append(files, f)
		info, err := f.Stat()
		if err != nil {
			return files, fmt.Errorf("--file: %w", err)
		}
		if info.IsDir() {
			return files, fmt.Errorf("--file: %s is a directory; send an archive of it", path)
		}
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // only read
	}
}

// drafts uploads the files and returns the messages to send.
func (s *sendFlags) drafts(ctx context.Context, c *client.Client, text string, files []*os.File, diag io.Writer) ([]client.Draft, error) {
	var burn *client.SendBurn
	var expire *client.ExpireAfter
	var id *string
	if s.burn > 0 {
		burn = &client.SendBurn{AfterSeconds: int64(s.burn / time.Second)}
	}
	if s.expires > 0 {
		after := client.ExpireAfter(s.expires / time.Second)
		expire = &after
	}
	if s.clientID != "" {
		id = &s.clientID
	}
	var drafts []client.Draft
	if text != "" {
		drafts = append(drafts, client.SendText{Body: client.TextBody{Text: text}, Burn: burn, ExpireAfterSeconds: expire, ClientID: id})
	}
	for _, file := range files {
		a, err := upload(ctx, c, file, diag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		body := client.AttachmentBody{AttachmentID: a.ID, Name: &a.Name, Width: a.Width, Height: a.Height}
		drafts = append(drafts, attachmentDraft(a.Type, body, burn, expire, id))
	}
	return drafts, nil
}

// attachmentDraft returns a message of the type that shows an attachment best.
func attachmentDraft(mediaType string, body client.AttachmentBody, burn *client.SendBurn, expire *client.ExpireAfter, id *string) client.Draft {
	kind, _, _ := mime.ParseMediaType(mediaType)
	switch kind, _, _ = strings.Cut(kind, "/"); kind {
	case "image":
		return client.SendImage{Body: body, Burn: burn, ExpireAfterSeconds: expire, ClientID: id}
	case "audio":
		return client.SendAudio{Body: body, Burn: burn, ExpireAfterSeconds: expire, ClientID: id}
	case "video":
		return client.SendVideo{Body: body, Burn: burn, ExpireAfterSeconds: expire, ClientID: id}
	default:
		return client.SendFile{Body: body, Burn: burn, ExpireAfterSeconds: expire, ClientID: id}
	}
}

// upload uploads a file, with a progress bar.
func upload(ctx context.Context, c *client.Client, file *os.File, diag io.Writer) (client.Attachment, error) {
	bar := newCount(diag, "bytes")
	if info, err := file.Stat(); err == nil {
		bar.at(0, info.Size())
	}
	stop := bar.run()
	defer stop()
	return c.Upload(ctx, filepath.Base(file.Name()), io.TeeReader(file, counter{bar}))
}

// counter counts the bytes that are written to it.
type counter struct{ bar *progress }

// Write implements [io.Writer].
func (c counter) Write(b []byte) (int, error) {
	c.bar.done.Add(int64(len(b)))
	return len(b), nil
}

// undelivered returns the error of the command if Send fails for a message. Of several messages,
// sent is the number that were sent before.
func (s *sendFlags) undelivered(err error, sent, of int) error {
	var sending *client.SendError
	if errors.As(err, &sending) && errors.Is(err, client.ErrConnectionLost) {
		err = &unreachableError{fmt.Errorf("%w\n  it is unknown whether the message was stored: to send it only once, repeat the command with --client-id %s", err, sending.ClientID)}
	} else {
		err = s.explain(err)
	}
	if of > 1 {
		err = fmt.Errorf("%d of %d messages were sent: %w", sent, of, err)
	}
	return err
}

// print prints a message that was sent.
func (s *sendFlags) print(out io.Writer, m client.Message) error {
	if !s.asJSON {
		_, err := fmt.Fprintln(out, m.ID)
		return err
	}
	return json.NewEncoder(out).Encode(m)
}
