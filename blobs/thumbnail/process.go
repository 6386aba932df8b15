package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/imapi/imapi/sniff"
)

var (
	// ErrProcess means that the process that makes thumbnails died while it worked on a picture,
	// did not answer in time, or sent a malformed answer. The picture may or may not be the cause,
	// so it is worth a bounded number of retries.
	ErrProcess = errors.New("thumbnail: the process that makes thumbnails has ended")
	// ErrStart means that the process that makes thumbnails could not be started, or did not report
	// that it is ready.
	ErrStart = errors.New("thumbnail: the process that makes thumbnails could not be started")
)

const (
	// idleTime is the time for which an idle process is kept.
	idleTime = 30 * time.Second
	// answerTime is the time that a process may take for a picture. The process itself gives up
	// after cpuTime, but may have to wait for the processor.
	answerTime = 5 * time.Minute
)

// The answers of a process. It sends answerReady once, when it has started, and then one of the
// others for each picture. A thumbnail follows answerMade:
//
//	1  type: 0 for JPEG, 1 for PNG
//	2  width
//	2  height
//	4  length
//	   bytes
const (
	answerMade = iota
	answerFormat
	answerTooLarge
	answerReady
)

const madeHeader = 9

// Process makes thumbnails in another process, which it starts when there is work and ends
// when there is none for a while. A picture that takes too much memory, or never stops decoding,
// ends that process and not this one, and that process has none of the keys and contents of this
// one. A Process may be used by many goroutines; one thumbnail is made at a time.
type Process struct {
	path string
	args []string

	turn  chan struct{} // held while a thumbnail is made
	child *child
	idle  *time.Timer
}

// NewProcess returns a Process that runs a command, which must call [Serve].
func NewProcess(path string, args ...string) *Process {
	p := &Process{path: path, args: args, turn: make(chan struct{}, 1)}
	p.idle = time.AfterFunc(idleTime, func() { _ = p.Close() })
	p.idle.Stop()
	return p
}

// Make is [Make] in the other process. It reads size bytes of the file. It returns the errors of
// [Make], ErrProcess, ErrStart, and those of reading the file; [io.ErrUnexpectedEOF] if the file is
// shorter.
func (p *Process) Make(ctx context.Context, file io.Reader, size int64) (Thumbnail, error) {
	if size > MaxBytes {
		return Thumbnail{}, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Thumbnail{}, ctx.Err()
	}
	p.idle.Stop()
	defer p.idle.Reset(idleTime)
	if p.child == nil {
		c, err := startChild(p.path, p.args)
		if err != nil {
			return Thumbnail{}, fmt.Errorf("%w: %w", ErrStart, err)
		}
		p.child = c
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("%w: no answer in %v", ErrProcess, answerTime))
	defer cancel()
	stop := context.AfterFunc(ctx, p.child.kill) // ends what blocks below
	err := p.child.ready()
	var t Thumbnail
	again := false
	if err == nil {
		t, again, err = p.child.make(file, size)
	}
	if !stop() || !again {
		p.child.end()
		p.child = nil
	}
	if ctx.Err() != nil {
		return Thumbnail{}, context.Cause(ctx)
	}
	return t, err
}

// Close ends the process if it has no work. The next thumbnail starts another.
func (p *Process) Close() error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	default:
		return nil
	}
	if p.child != nil {
		p.child.end()
		p.child = nil
	}
	return nil
}

// child is a running process.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	began bool // it has said that it is ready
	once  sync.Once
}

func startChild(path string, args []string) (*child, error) {
	// Its standard error is discarded, because it could quote the picture.
	cmd := exec.CommandContext(context.Background(), path, args...) //nolint:gosec // the caller's own command
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	cmd.Dir = "/"
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, in: in, out: out}, nil
}

// ready waits until the process is ready.
func (c *child) ready() error {
	if c.began {
		return nil
	}
	var code [1]byte
	if _, err := io.ReadFull(c.out, code[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	if code[0] != answerReady {
		return fmt.Errorf("%w: its first answer is %q", ErrStart, code)
	}
	c.began = true
	return nil
}

// kill ends the process at once.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end kills the process and waits for it.
func (c *child) end() {
	c.once.Do(func() {
		c.kill()
		_ = c.in.Close()
		_ = c.cmd.Wait() // it was killed
	})
}

// make requests a thumbnail from the process. again reports whether the process can make another.
func (c *child) make(file io.Reader, size int64) (t Thumbnail, again bool, err error) {
	failed := func(err error) (Thumbnail, bool, error) {
		return Thumbnail{}, false, fmt.Errorf("%w: %w", ErrProcess, err)
	}
	if err := binary.Write(c.in, binary.BigEndian, size); err != nil {
		return failed(err)
	}
	source := &sourceReader{r: io.LimitReader(file, size)}
	if n, err := io.Copy(c.in, source); source.err != nil {
		return Thumbnail{}, false, source.err
	} else if err != nil {
		return failed(err)
	} else if n < size {
		return Thumbnail{}, false, io.ErrUnexpectedEOF
	}
	var code [1]byte
	if _, err := io.ReadFull(c.out, code[:]); err != nil {
		return failed(err)
	}
	switch code[0] {
	case answerFormat:
		return Thumbnail{}, true, ErrFormat
	case answerTooLarge:
		return Thumbnail{}, true, ErrTooLarge
	}
	var header [madeHeader]byte
	if _, err := io.ReadFull(c.out, header[:]); err != nil {
		return failed(err)
	}
	t = Thumbnail{Type: sniff.JPEG, Width: int(binary.BigEndian.Uint16(header[1:])), Height: int(binary.BigEndian.Uint16(header[3:]))}
	if header[0] == 1 {
		t.Type = sniff.PNG
	}
	length := binary.BigEndian.Uint32(header[5:])
	if code[0] != answerMade || length > MaxThumbnail || t.Width > Box || t.Height > Box {
		return failed(errors.New("its answer is malformed"))
	}
	t.Bytes = make([]byte, length)
	if _, err := io.ReadFull(c.out, t.Bytes); err != nil {
		return failed(err)
	}
	return t, true, nil
}

// sourceReader distinguishes errors of reading the file from errors of writing to the process.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Serve makes thumbnails for the [Process] at the other ends of in and out until in ends. It
// restricts the calling process for good, so call it in a process that does nothing else.
func Serve(in io.Reader, out io.Writer) error {
	if err := confine(); err != nil {
		return err
	}
	if _, err := out.Write([]byte{answerReady}); err != nil {
		return err
	}
	for {
		var size int64
		if err := binary.Read(in, binary.BigEndian, &size); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if size < 0 || size > MaxBytes {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
		}
		file := make([]byte, size)
		if _, err := io.ReadFull(in, file); err != nil {
			return err
		}
		if _, err := out.Write(answer(file)); err != nil {
			return err
		}
	}
}

// answer makes one thumbnail and returns the answer of the process.
func answer(file []byte) []byte {
	ctx, cancel := withCPUTime(cpuTime)
	defer cancel()
	t, err := Make(ctx, file)
	switch {
	case errors.Is(err, ErrFormat):
		return []byte{answerFormat}
	case err != nil: // too large, or out of time
		return []byte{answerTooLarge}
	}
	var b bytes.Buffer
	b.Write([]byte{answerMade, 0})
	if t.Type == sniff.PNG {
		b.Bytes()[1] = 1
	}
	for _, v := range []any{uint16(t.Width), uint16(t.Height), uint32(len(t.Bytes))} {
		_ = binary.Write(&b, binary.BigEndian, v) // never fails
	}
	b.Write(t.Bytes)
	return b.Bytes()
}

// cpuTime is the processor time that a picture may take. The largest pictures within the limits
// take a second or two.
const cpuTime = 10 * time.Second

// withCPUTime returns a context that ends when this process has used the given processor time since
// the call.
func withCPUTime(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	end := cpuUsed() + limit
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if cpuUsed() >= end {
				cancel()
			}
		}
	}()
	return ctx, cancel
}
