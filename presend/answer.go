package presend

import (
	"errors"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// mostValues is the maximum number of JSON values in an answer: more than a rewritten message
// needs.
const mostValues = 20_000

// parseAnswer reads the body of an answer, as PresendAnswer of the OpenAPI document describes
// it. It refuses unknown members, because a misunderstood answer would be worse than none. Package
// im checks the values. The error does not quote the answer.
func parseAnswer(body []byte) (im.PresendAnswer, error) {
	scan := jsonscan.Scan(body, mostValues)
	switch {
	case scan.Fault != "":
		return im.PresendAnswer{}, errors.New(scan.Fault)
	case scan.Values > mostValues:
		return im.PresendAnswer{}, errors.New("has too many values")
	case scan.Value.Kind() != '{':
		return im.PresendAnswer{}, errors.New("is not an object")
	}
	var a im.PresendAnswer
	for name, value := range scan.Value.Members() {
		if err := setMember(&a, string(name.Text()), value); err != nil {
			return im.PresendAnswer{}, err
		}
	}
	return a, nil
}

// setMember sets the field of a member.
func setMember(a *im.PresendAnswer, name string, value jsonscan.Value) error {
	switch name {
	case "action":
		var action string
		if err := setText(&action, value); err != nil {
			return err
		}
		var known bool
		if a.Action, known = im.ParsePresendAction(action); !known {
			return errors.New("has an unknown action")
		}
	case "code":
		return setText(&a.Code, value)
	case "text":
		return setText(&a.Text, value)
	case "body", "ext":
		if value.Kind() != '{' {
			return errors.New("has a body or ext that is not an object")
		}
		if name == "body" {
			a.Body = value.JSON()
		} else {
			a.Ext = value.JSON()
		}
	default:
		return errors.New("has an unknown member")
	}
	return nil
}

// setText sets a text from a JSON string.
func setText(into *string, value jsonscan.Value) error {
	if value.Kind() != '"' {
		return errors.New("has a member that is not a string")
	}
	*into = string(value.Text())
	return nil
}
