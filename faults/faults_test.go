package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/faults"
)

const marker = "zq-marker-51"

// TestTextDoesNotQuote checks that errors which quote their input are logged by
// their types, however they are wrapped, and other errors by their text.
func TestTextDoesNotQuote(t *testing.T) {
	_, number := strconv.Atoi(marker)
	_, at := time.Parse(time.RFC3339, marker)
	_, address := url.Parse(strings.Join([]string{"http://", marker, "\x7f"}, ""))
	var into int
	typed := json.Unmarshal([]byte(`"x"`), &into)
	for name, err := range map[string]error{
		"number": number, "time": at, "address": address, "type": typed,
		"wrapped": fmt.Errorf("row: %w", number), "joined": errors.Join(errors.New("x"), fmt.Errorf("y: %w", at)),
	} {
		t.Run(name, func(t *testing.T) {
			if got := faults.Text(err); strings.Contains(got, marker) || !strings.Contains(got, "Error") {
				t.Errorf("text %q", got)
			}
		})
	}
	if got := faults.Text(fmt.Errorf("a: %w", errors.New("b"))); got != "a: b" {
		t.Errorf("an error that quotes nothing: %q", got)
	}
}

// argument panics. The stack of runtime/debug would show its argument.
//
//go:noinline
func argument(n uint64) int { panic(fmt.Sprint(marker, n)) }

func TestPanicHasTypeAndStackWithoutValues(t *testing.T) {
	defer func() {
		v := recover()
		text := fmt.Sprint(faults.Panic(v)...)
		if strings.Contains(text, marker) || strings.Contains(text, "deadbeefcafe") {
			t.Errorf("the log would have: %s", text)
		}
		if !strings.Contains(text, "typestring") || !strings.Contains(text, "faults_test.argument") || !strings.Contains(text, "faults_test.go:") {
			t.Errorf("no type or no stack in the log: %s", text)
		}
		if err := faults.Recovered(v); strings.Contains(err.Error(), marker) {
			t.Errorf("the error is %q", err)
		}
	}()
	argument(0xdeadbeefcafe)
}
