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
	case !jsonscan.IsObject(body):
		return im.PresendAnswer{}, errors.New("is not an object")
	}
	var a im.PresendAnswer
	err := jsonscan.Members(body, func(name string, value []byte) error {
		switch name {
		case "action":
			text, err := unquote(value)
			if err != nil {
				return err
			}
			var known bool
			if a.Action, known = im.ParsePresendAction(text); !known {
				return errors.New("has an unknown action")
			}
			return nil
		case "code":
			return set(&a.Code, value)
		case "text":
			return set(&a.Text, value)
		case "body", "ext":
			if !jsonscan.IsObject(value) {
				return errors.New("has a body or ext that is not an object")
			}
			if name == "body" {
				a.Body = value
			} else {
				a.Ext = value
			}
			return nil
		default:
			return errors.New("has an unknown member")
		}
	})
	if err != nil {
		return im.PresendAnswer{}, err
	}
	return a, nil
}

func set(into *string, value []byte) (err error) {
	*into, err = unquote(value)
	return err
}

// unquote returns the text of a JSON string.
func unquote(value []byte) (string, error) {
	if value[0] != '"' {
		return "", errors.New("has a member that is not a string")
	}
	text, err := jsonscan.Unquote(value)
	if err != nil {
		return "", errors.New("has a member that is not a string")
	}
	return text, nil
}
